//! Handlers that are broken on purpose: what the workloads check must find them.

use std::cell::Cell;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use apps::{firewall, load_balancer};
use redplane_protocol::create::{Creation, Refusal};
use redplane_sdk::app::{App, Handled, StateHandle, Verdict};
use redplane_sdk::packet::Packet;
use redplane_simulation::workload::{Balance, Guard, Workload, port};
use redplane_simulation::{Assumptions, Check, Mutation, Plan, Simulation};

/// An app that is another one, but for what becomes of a packet.
macro_rules! broken {
    ($(#[$docs:meta])* $name:ident is $app:path, $break:expr) => {
        $(#[$docs])*
        struct $name;

        impl App for $name {
            type Key = <$app as App>::Key;
            type State = <$app as App>::State;
            type Tables = <$app as App>::Tables;
            type Config = <$app as App>::Config;

            const NAME: &'static str = <$app as App>::NAME;
            const ID: u16 = <$app as App>::ID;
            const FINGERPRINT: u16 = <$app as App>::FINGERPRINT;
            const IR_HASH: u64 = <$app as App>::IR_HASH;
            const SLOTS: u32 = <$app as App>::SLOTS;
            const REASONS: &'static [&'static str] = <$app as App>::REASONS;

            fn handle<'a>(
                packet: &mut Packet,
                state: StateHandle<'a, Self::Key, Self::State>,
                tables: &'a Self::Tables,
                ingress_port: u16,
            ) -> Handled {
                let right = |packet: &mut Packet| <$app as App>::handle(packet, state, tables, ingress_port);
                let mend: fn(&mut Packet, u16, Right<'_>) -> Handled = $break;
                mend(packet, ingress_port, Box::new(right))
            }

            fn idle(key: &Self::Key, state: &Self::State) -> Duration {
                <$app as App>::idle(key, state)
            }

            fn create(
                key: &Self::Key,
                records: &mut Creation<'_, Self::Key, Self::State>,
                config: &Self::Config,
            ) -> Result<Self::State, Refusal> {
                ABLE.set(Able::able(config));
                <$app as App>::create(key, records, config)
            }
        }
    };
}

thread_local! {
    /// Backends with weight, when a connection was made last.
    static ABLE: Cell<u8> = const { Cell::new(0) };
}

trait Able {
    fn able(&self) -> u8;
}

impl Able for () {
    fn able(&self) -> u8 {
        0
    }
}

impl Able for load_balancer::Pools {
    fn able(&self) -> u8 {
        self.services[0].backends.iter().filter(|backend| backend.weight > 0).count() as u8
    }
}

broken! {
    /// It drops nothing.
    LetsAllIn is firewall::App, |packet: &mut Packet, _, right: Right<'_>| match right(packet)? {
        Verdict::Drop(_) => Ok(Verdict::Forward),
        verdict => Ok(verdict),
    }
}

broken! {
    /// It drops what it does not know of, and does not ask the store.
    DoesNotAsk is firewall::App, |packet: &mut Packet, _, right: Right<'_>| {
        let opens = packet.tcp.as_ref().is_none_or(|tcp| tcp.syn);
        right(packet).or_else(|suspend| if opens { Err(suspend) } else { Ok(Verdict::Drop("unsolicited")) })
    }
}

broken! {
    /// It lets an RST pass, and goes on as if nothing had been.
    MissesReset is firewall::App, |packet: &mut Packet, _, right: Right<'_>| {
        let breaks = packet.tcp.as_ref().is_some_and(|tcp| tcp.rst);
        if breaks { Ok(Verdict::Forward) } else { right(packet) }
    }
}

broken! {
    /// The switch chooses itself, by a hash over as many backends as there were when a connection was made last.
    ChoosesByHash is load_balancer::App, |packet: &mut Packet, ingress_port, right: Right<'_>| {
        let verdict = right(packet)?;
        if let (Some(ip), Some(ports), port::NEAR) = (&mut packet.ipv4, &packet.ports, ingress_port) {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((ip.src, ports.src));
            let [first, second, third, _] = ip.dst.octets();
            if first == 10 {
                ip.dst = [first, second, third, (hash % u64::from(ABLE.get().max(1))) as u8].into();
            }
        }
        Ok(verdict)
    }
}

broken! {
    /// What a backend answers goes back in the backend's own name.
    AnswersInOwnName is load_balancer::App, |packet: &mut Packet, ingress_port, right: Right<'_>| {
        if ingress_port == port::FAR { Ok(Verdict::Forward) } else { right(packet) }
    }
}

/// How the handler that is not broken deals with a packet.
type Right<'a> = Box<dyn FnOnce(&mut Packet) -> Handled + 'a>;

/// What a few seeds find.
fn findings<W: Workload>() -> Vec<(u64, Check)> {
    let run = |seed| {
        let plan = Plan::new(seed, Assumptions::Kept);
        Some((seed, Simulation::<W>::new(plan, Mutation::default()).run().0.finding?.check))
    };
    (0..40).filter_map(run).collect()
}

#[track_caller]
fn is_found_as<W: Workload>(check: Check) {
    let findings = findings::<W>();
    assert!(findings.iter().any(|(_, found)| *found == check), "{findings:?}");
}

#[test]
fn nothing_is_found_in_what_is_not_broken() {
    assert_eq!((findings::<Guard>(), findings::<Balance>()), (vec![], vec![]));
}

#[test]
fn a_firewall_that_lets_all_in_is_found() {
    is_found_as::<Guard<LetsAllIn>>(Check::Guarded);
}

#[test]
fn a_firewall_that_forgets_what_is_open_is_found() {
    is_found_as::<Guard<DoesNotAsk>>(Check::Guarded);
}

#[test]
fn a_firewall_that_does_not_end_a_flow_is_found() {
    is_found_as::<Guard<MissesReset>>(Check::Linearizable);
}

#[test]
fn a_balancer_that_does_not_keep_its_choice_is_found() {
    is_found_as::<Balance<ChoosesByHash>>(Check::Mapping);
}

#[test]
fn a_balancer_that_does_not_translate_back_is_found() {
    is_found_as::<Balance<AnswersInOwnName>>(Check::Mapping);
}
