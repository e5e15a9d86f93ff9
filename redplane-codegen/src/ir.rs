//! The typed intermediate representation of one app.
//!
//! `syntax` builds it, `analysis` splits the handler at its lease points, every target and the schema read it.
//! It carries the author's spans and doc comments, so that an emitted line can say where it came from, but
//! [`crate::canonical`] prints it without them: two builds of the same program have the same hash.
//!
//! **Invariant**: nothing in here knows a target, and nothing in here computes on text.

use proc_macro2::Span;

/// One app: everything that its Rust module says.
#[derive(Clone, Debug)]
pub struct App {
    /// Module name, `snake_case`: `nat`.
    pub name: String,
    /// `#[redplane::app(id = N)]`: the number that the wire header carries.
    pub id: u16,
    /// The module's doc comment, one entry a line.
    pub docs: Vec<String>,
    /// The flow key.
    pub key: Record,
    /// The replicated state behind a key.
    pub state: State,
    /// Enums that a handler knows, in source order.
    pub enums: Vec<Enum>,
    /// Headers of the packet: the standard ones, then the app's own.
    pub headers: &'static [crate::packet::Header],
    /// Operator tables, in source order.
    pub tables: Vec<Table>,
    /// The packet handler, split at its lease points.
    pub handler: Handler,
    /// Names given to `cx.drop("…")`, in order of first use, without repetition.
    pub reasons: Vec<String>,
    /// Name of the `#[on_create]` function, if there is one; without it a new record starts as all zeros.
    pub on_create: Option<String>,
}

/// A struct of fixed layout: a key or a state value. On the wire each field takes [`Type::wire_bytes`], in
/// network byte order, the value right-aligned, in field order.
#[derive(Clone, Debug)]
pub struct Record {
    /// Type name as the author wrote it: `Endpoint`.
    pub name: String,
    /// Doc comment, one entry a line.
    pub docs: Vec<String>,
    /// Fields in source order.
    pub fields: Vec<Field>,
    /// Where the struct is named.
    pub span: Span,
}

/// One field of a [`Record`].
#[derive(Clone, Debug)]
pub struct Field {
    /// Field name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Doc comment, one entry a line.
    pub docs: Vec<String>,
    /// Where the field is named.
    pub span: Span,
}

/// `#[repr(u8)] enum Phase { New, Open = 4 }`: names for some values of a byte. One of them is zero.
#[derive(Clone, Debug)]
pub struct Enum {
    /// Type name as the author wrote it: `Phase`.
    pub name: String,
    /// Doc comment, one entry a line.
    pub docs: Vec<String>,
    /// Variants in source order.
    pub variants: Vec<Variant>,
    /// Where the enum is named.
    pub span: Span,
}

/// One variant of an [`Enum`].
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: u8,
    /// Doc comment, one entry a line.
    pub docs: Vec<String>,
}

/// `#[state(key = …, slots = …, idle = "…")]`.
#[derive(Clone, Debug)]
pub struct State {
    /// Layout of the value.
    pub record: Record,
    /// Name of the context field: the type's name in `snake_case`.
    pub handle: String,
    /// Slots in a switch; a power of two.
    pub slots: u32,
    /// How long a record without a lease stays in the store, in milliseconds.
    pub idle_ms: u64,
    /// Name of the function that says it instead, by key and state.
    pub idle_by: Option<proc_macro2::Ident>,
}

/// How a table's key matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Every bit.
    Exact,
    /// The longest prefix.
    Lpm,
    /// Value and mask, by priority.
    Ternary,
}

/// An operator table: `pub type Inside = Lpm<Ipv4Addr, bool>`. A miss gives zero.
#[derive(Clone, Debug)]
pub struct Table {
    /// Type name as the author wrote it: `Inside`.
    pub name: String,
    /// Name of the context field: the type's name in `snake_case`.
    pub handle: String,
    /// Doc comment, one entry a line.
    pub docs: Vec<String>,
    /// How the key matches.
    pub matching: Match,
    /// What is matched.
    pub key: Shape,
    /// What an entry gives.
    pub value: Shape,
    /// Most entries.
    pub size: u32,
    /// Where the table is named.
    pub span: Span,
}

/// The key or the value of a table.
#[derive(Clone, Debug)]
pub enum Shape {
    /// One word.
    Word(Type),
    /// A struct of the module, each field a word.
    Record(Record),
}

impl Shape {
    /// Name and type of each word; the only one of a [`Shape::Word`] is called `word`.
    pub fn columns<'a>(&'a self, word: &'a str) -> Vec<(&'a str, Type)> {
        match self {
            Shape::Word(ty) => vec![(word, *ty)],
            Shape::Record(record) => {
                record.fields.iter().map(|field| (field.name.as_str(), field.ty)).collect()
            }
        }
    }
}

/// A type that fits a switch register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `bool`.
    Bool,
    /// `u1` to `u64`.
    Uint(u16),
    /// `Ipv4Addr`.
    Ipv4,
    /// `Ipv6Addr`.
    Ipv6,
    /// `MacAddr`.
    Mac,
    /// An enum, by index into [`App::enums`]: one byte.
    Enum(usize),
}

impl Type {
    /// Width in bits.
    pub fn bits(self) -> u16 {
        match self {
            Type::Bool => 1,
            Type::Uint(width) => width,
            Type::Ipv4 => 32,
            Type::Ipv6 => 128,
            Type::Mac => 48,
            Type::Enum(_) => 8,
        }
    }

    /// Whole bytes that it takes in a protocol message.
    pub fn wire_bytes(self) -> u16 {
        self.bits().div_ceil(8)
    }
}

/// The handler, split at its lease points.
#[derive(Clone, Debug)]
pub struct Handler {
    /// Function name: `translate`.
    pub name: String,
    /// Doc comment, one entry a line.
    pub docs: Vec<String>,
    /// Where the function is named.
    pub span: Span,
    /// Every local, by [`LocalId`]. Names are unique: a shadowing `port` is `port_2`.
    pub locals: Vec<Local>,
    /// From the packet's arrival to a lease point or a verdict. Every path ends in `Reach` or `Finish`: a branch that
    /// does so returns, and the statements after its `If` are for the paths that go on.
    pub before: Vec<Stmt>,
    /// The lease points in source order; a path passes at most one.
    pub points: Vec<LeasePoint>,
    /// Header fields that the handler reads, by header then field, sorted.
    pub reads: Vec<HeaderField>,
    /// Header fields that the handler writes, sorted.
    pub writes: Vec<HeaderField>,
    /// Headers whose presence or fields the handler asks for, sorted.
    pub headers: Vec<HeaderId>,
    /// Whether some path writes the state.
    pub writes_state: bool,
}

/// Index into [`Handler::locals`].
pub type LocalId = usize;

/// A `let`.
#[derive(Clone, Debug)]
pub struct Local {
    /// Unique name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Where it is bound.
    pub span: Span,
    /// Set before a lease point and read after it: it crosses the slot registers in metadata.
    pub crosses: bool,
}

/// `cx.state.lease(key)?` or `cx.state.find(key)?`, and all that follows on its path.
#[derive(Clone, Debug)]
pub struct LeasePoint {
    /// `lease` or `find`.
    pub mode: Mode,
    /// The call.
    pub span: Span,
    /// What runs once the state is held. Every path ends in `Finish`.
    pub rest: Vec<Stmt>,
    /// What runs when the store knows no such record; empty for [`Mode::Lease`]. Every path ends in `Finish`.
    pub absent: Vec<Stmt>,
}

/// What a lease point asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Create the record if it is absent.
    Lease,
    /// Only if it is known.
    Find,
}

/// A statement with the author's position.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Where the author wrote it.
    pub span: Span,
}

/// What a statement does.
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// `place = value`.
    Assign {
        /// Target.
        place: Place,
        /// Source, of the same type.
        value: Expr,
    },
    /// `local = cx.table.lookup(key)`. A table is looked up at most once on a path.
    Lookup {
        /// Index into [`App::tables`].
        table: usize,
        /// One expression a column of the key.
        key: Vec<Expr>,
        /// Where each column of the value goes; zero on a miss.
        into: Vec<LocalId>,
    },
    /// `if`.
    If {
        /// A [`Type::Bool`] expression.
        condition: Expr,
        /// If true.
        then: Vec<Stmt>,
        /// If false.
        otherwise: Vec<Stmt>,
    },
    /// The path arrives at a lease point with this key. Ends the path before the lease.
    Reach {
        /// Index into [`Handler::points`].
        point: usize,
        /// One expression a key field.
        key: Vec<Expr>,
    },
    /// The verdict. Ends the path.
    Finish(Verdict),
}

/// What can be assigned.
#[derive(Clone, Debug)]
pub enum Place {
    /// A local.
    Local(LocalId),
    /// A header field; never before a lease point of the same path.
    Header(HeaderField),
    /// A field of the state, by index into [`State::record`]; only after the lease point.
    State(usize),
}

/// What becomes of the packet.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// By the IPv4 route table.
    Forward,
    /// By the IPv4 route of this address, a [`Type::Ipv4`], instead of the destination's.
    Via(Expr),
    /// Out of a port, [`Type::Uint`] of 16 bits.
    To(Expr),
    /// Back out of the port it came in by.
    Reply,
    /// Through the whole pipeline once more, as it is now.
    Recirculate,
    /// Nowhere; index into [`App::reasons`].
    Drop(usize),
}

/// A typed expression without side effects.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it computes.
    pub kind: ExprKind,
    /// Type of the result.
    pub ty: Type,
    /// Where the author wrote it.
    pub span: Span,
}

/// What an expression computes.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A constant that fits the type.
    Const(u128),
    /// A local.
    Local(LocalId),
    /// A header field; the header is known to be valid here.
    Header(HeaderField),
    /// A field of the state, by index into [`State::record`]; only after the lease point.
    State(usize),
    /// Whether the packet has this header.
    Valid(HeaderId),
    /// `cx.ingress_port`, 16 bits.
    IngressPort,
    /// Logical or bitwise not, by type.
    Not(Box<Expr>),
    /// A binary operation; arithmetic wraps at the width.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// A change of width or kind: zero-extends or truncates.
    Cast(Box<Expr>),
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`, wrapping.
    Add,
    /// `-`, wrapping.
    Sub,
    /// `*`, wrapping.
    Mul,
    /// Bitwise `&`.
    And,
    /// Bitwise `|`.
    Or,
    /// Bitwise `^`.
    Xor,
    /// `<<` by a constant.
    Shl,
    /// `>>` by a constant.
    Shr,
    /// `==`.
    Eq,
    /// `!=`.
    Ne,
    /// `<`.
    Lt,
    /// `<=`.
    Le,
    /// `>`.
    Gt,
    /// `>=`.
    Ge,
    /// `&&`.
    AndAlso,
    /// `||`.
    OrElse,
}

/// A header of the packet: index into [`App::headers`], which is in wire order.
pub type HeaderId = usize;

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderField {
    /// Which header.
    pub header: HeaderId,
    /// Which field of it, by index into its `fields`.
    pub field: usize,
}
