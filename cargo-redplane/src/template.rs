//! What a new project may begin as. The sources are those that the workspace compiles and tests.

/// A kind of project.
#[derive(Debug)]
pub(crate) struct Template {
    /// Its name, and that of its app.
    pub(crate) name: &'static str,
    /// The app.
    pub(crate) app: &'static str,
    /// Its demo and tests.
    pub(crate) main: &'static str,
}

/// All of them.
pub(crate) const TEMPLATES: [Template; 4] = [
    Template {
        name: "counter",
        app: include_str!("../templates/counter/app.rs"),
        main: include_str!("../templates/counter/main.rs"),
    },
    Template {
        name: "nat",
        app: include_str!("../../apps/src/nat.rs"),
        main: include_str!("../templates/nat/main.rs"),
    },
    Template {
        name: "firewall",
        app: include_str!("../../apps/src/firewall.rs"),
        main: include_str!("../templates/firewall/main.rs"),
    },
    Template {
        name: "load_balancer",
        app: include_str!("../../apps/src/load_balancer.rs"),
        main: include_str!("../templates/load_balancer/main.rs"),
    },
];

const BUILD: &str = include_str!("../templates/build.rs");

/// The crate that the demos name.
const CRATE: &str = "project::";
/// The app that the build script names.
const APP: &str = "template_agreement.rs";

impl Template {
    /// The template of a name.
    pub(crate) fn find(name: &str) -> Option<&'static Template> {
        TEMPLATES.iter().find(|template| template.name == name.replace('-', "_"))
    }

    /// `src/lib.rs`.
    pub(crate) fn library(&self) -> String {
        format!(
            "{}\n// Does not compile if the build script saw another program than the macro.\n\
             include!(concat!(env!(\"OUT_DIR\"), \"/{}_agreement.rs\"));\n",
            without_anchors(self.app),
            self.name
        )
    }

    /// `src/main.rs` of the project that is this crate.
    pub(crate) fn main(&self, crate_name: &str) -> String {
        without_anchors(self.main).replace(CRATE, &format!("{crate_name}::"))
    }

    /// `build.rs`.
    pub(crate) fn build(&self) -> String {
        BUILD.replace(APP, &format!("{}_agreement.rs", self.name))
    }
}

/// The source without the comments by which the guide shows parts of it.
fn without_anchors(source: &str) -> String {
    let anchors = ["// ANCHOR: ", "// ANCHOR_END: "];
    let kept = source.lines().filter(|line| !anchors.iter().any(|anchor| line.trim().starts_with(anchor)));
    kept.flat_map(|line| [line, "\n"]).collect()
}
