//! `/v1/suppressions`: addresses that no action sends to.
//! Promises that an order is obeyed whole or not at all, and that a page is bounded. Deliberately decides nothing: the desk does.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hyper::{Method, Request, body::Body};
use serde::Deserialize;
use serde_json::json;

use super::{
    Http,
    answer::{Answer, Failure},
    auth,
    people::{answer, invalid, limit, read_order},
    query::{only, parameter, wrong_parameter},
};
use crate::{
    limits::MAX_PAGE,
    people::Identifier,
    state::{self, SuppressionReason},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddOrder {
    suppressions: Vec<Added>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    address: String,
    #[serde(default = "by_hand")]
    reason: SuppressionReason,
}

fn by_hand() -> SuppressionReason {
    SuppressionReason::Manual
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveOrder {
    addresses: Vec<String>,
}

impl Http {
    /// Answers a request below `/v1/suppressions`.
    pub(super) async fn suppressions<B>(&self, request: Request<B>) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let by = auth::require_admin(request.headers(), &self.door.admins.get())?;
        let (head, body) = request.into_parts();
        let (desk, query) = (&self.desk, head.uri.query());
        if head.method == Method::GET {
            only(query, &["address", "reason", "before", "limit"])?;
            if let Some(text) = parameter(query, "address")? {
                let address = state::address(&text);
                let address =
                    address.map_err(|error| wrong_parameter(&format!("`address`: {error}")))?;
                return Ok(answer(&desk.suppression(address).await?));
            }
            let before = parameter(query, "before")?.map(|text| {
                let message = "`before` is the `next` of the page before";
                text.parse().map_err(|_| wrong_parameter(message))
            });
            let reason = parameter(query, "reason")?.map(|text| reason(&text)).transpose()?;
            return Ok(answer(
                &desk.suppressions(before.transpose()?, reason, limit(query)?).await?,
            ));
        }
        only(query, &[])?;
        let (body, _held) = self.order_body(body).await?;
        if head.uri.path().ends_with("/add") {
            let AddOrder { suppressions } = read_order(&body)?;
            bounded("suppressions", suppressions.len())?;
            // The first that is said of an address counts.
            let mut added = BTreeMap::new();
            for (number, it) in (1..).zip(&suppressions) {
                let address = read(number, &it.address)?;
                added.entry(address).or_insert(it.reason);
            }
            let count = suppressions.len();
            let added = desk.stop_sending_to(added, &by).await?;
            return Ok(answer(&json!({ "added": added, "already": count - added })));
        }
        let RemoveOrder { addresses } = read_order(&body)?;
        bounded("addresses", addresses.len())?;
        let count = addresses.len();
        let addresses = (1..).zip(&addresses).map(|(number, text)| read(number, text));
        let addresses = addresses.collect::<Result<BTreeSet<_>, _>>()?;
        let removed = desk.send_again_to(addresses, &by).await?;
        Ok(answer(&json!({ "removed": removed, "absent": count - removed })))
    }
}

fn reason(text: &str) -> Result<SuppressionReason, Failure> {
    let found = SuppressionReason::ALL.into_iter().find(|known| known.as_str() == text);
    found.ok_or_else(|| {
        let known = SuppressionReason::ALL.map(SuppressionReason::as_str).join("`, `");
        wrong_parameter(&format!("`reason` is one of `{known}`"))
    })
}

fn bounded(name: &str, count: usize) -> Result<(), Failure> {
    match count {
        1..=MAX_PAGE => Ok(()),
        _ => Err(invalid(&format!("`{name}` are 1 to {MAX_PAGE}, and these are {count}"))),
    }
}

/// An address of an order, which is the one of this number there.
fn read(number: u32, text: &str) -> Result<Identifier<'static>, Failure> {
    state::address(text).map_err(|error| invalid(&format!("address {number}: {error}")))
}
