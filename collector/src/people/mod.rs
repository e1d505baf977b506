//! One live profile for each person, from every channel: who is who, what each is known for, what each did, which account.
//! Promises that who is who can be taken back, and that people are a function of the log. Deliberately keeps everything under
//! identifiers, never under people: a person is the identifiers that belong together now, read together.
//!
//! ```text
//! record ─▶ said ─▶ identifier ─▶ fold ─┬─▶ graph: edges, and which identifiers are one person
//!                                       └─▶ seen, moments, accounts: of one identifier each
//! profile, timeline, account, search ◀── read together, when someone asks
//! ```

mod account;
mod device;
mod erase;
mod fold;
mod graph;
mod identifier;
mod judging;
mod limits;
mod numbers;
mod orders;
mod profile;
mod said;
mod search;
mod seen;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod texts;
mod timeline;
mod trial;
mod whole;

pub use account::{Account, Member};
pub use device::Device;
pub use graph::{Edge, State as EdgeState};
pub use identifier::{Identifier, Kind, MAX_IDENTIFIER_BYTES, NotAnIdentifier};
pub use limits::Limits;
pub use profile::{Channel, Graph, Known, Membership, PersonId, Preview, Profile, Said, Statement};
pub use search::Found;
pub use timeline::{Chapter, Moment, Page, Wanted};

pub(crate) use account::account;
pub(crate) use erase::{Traces, forget, identifiers, traces};
pub(crate) use fold::{Fold, Folded, Gone};
pub(crate) use graph::{Node, find as node_of_identifier, first_record, identifier};
pub(crate) use orders::{ERASED, MERGED, Order, SOURCE, UNMERGED, is_ours, said, said_by_us};
pub(crate) use profile::{
    graph_of, name_of, node_of, person_of, person_of_record, preview, profile,
};
pub(crate) use search::search;
pub(crate) use timeline::{Of, timeline};
pub(crate) use trial::{Trials, trials};
pub(crate) use whole::{Did, Whole, accounts_after, did, people_after, records_of};

/// What the tables are made by.
pub(crate) const SCHEMAS: [&str; 4] = [graph::SCHEMA, fold::SCHEMA, texts::SCHEMA, trial::SCHEMA];
