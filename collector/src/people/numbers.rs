//! The numbers of what one record brings up: identifiers, and statements about them.
//! Promises the same numbers for the same record. Deliberately writes nothing.

use super::{
    graph::{self, Edge, Joining, Node, PER_RECORD, State},
    identifier::Kind,
    orders,
};
use crate::event_log::{Identity, Record, Trust};

/// Numbers for what a record brings up.
pub(super) struct Numbers {
    first: i64,
    edge: i64,
    /// Of the identifiers that have one, in their order.
    kinds: Vec<Kind>,
}

impl Numbers {
    pub(super) fn of(record: &Record) -> Self {
        let first = record.offset.to_number().saturating_mul(PER_RECORD);
        Self { first, edge: first, kinds: Vec::new() }
    }

    /// For a new identifier.
    pub(super) fn next(&mut self, kind: Kind) -> Node {
        self.kinds.push(kind);
        self.first + self.kinds.len() as i64 - 1
    }

    /// What this record brings up is a person of its own, before it says more.
    pub(super) fn alone(&self, node: Node) -> Option<Joining> {
        let place = usize::try_from(node - self.first).ok()?;
        self.kinds.get(place).map(|kind| Joining::alone(node, *kind))
    }

    /// For the next statement, be it new or the proof of one that was made before.
    pub(super) fn statement(&mut self) -> i64 {
        self.edge += 1;
        self.edge - 1
    }

    /// A new statement.
    pub(super) fn edge(
        &self,
        id: i64,
        record: &Record,
        [a, b]: [Node; 2],
        via: &str,
        ordered: bool,
    ) -> Edge {
        let by = (via == graph::OPERATOR).then(|| orders::by(record)).flatten();
        Edge {
            id,
            a,
            b,
            via: via.to_owned(),
            time_ms: record.event_time.unix_ms(),
            source: by.unwrap_or_else(|| record.source.to_string()),
            trusted: record.trust == Trust::Server,
            proven: (ordered || is_proven(record)).then_some(id),
            ordered,
            state: State::Accepted,
        }
    }
}

/// Whether it is certain who is meant: a source has said it that nobody can forge, or the customer's backend has signed for it. What a rule
/// derives names one identifier, and so says nothing of who is who.
pub(super) fn is_proven(record: &Record) -> bool {
    record.trust == Trust::Server || record.flags.identity == Identity::Proven
}
