//! Decisions about who is who, on pages: shown first, taken then, and undone if they were wrong.
//! Promises that nothing is decided by looking. Deliberately decides nothing: the desk does.

use super::{
    Http,
    console::{FOUND, NO_PERSON, Paged, Pairs, Trouble, html, see},
};
use crate::{
    console::{Card, Decision, Done, Hit, MergePage, Session, kept, part, person_address},
    people::{Identifier, Order},
};

impl Http {
    /// What taking a statement back would lead to.
    pub(super) async fn preview_unmerge(
        &self,
        who: &str,
        query: &Pairs,
        session: &Session,
    ) -> Paged {
        let profile = self.known_profile(who).await?;
        let (a, b) = two(query)?;
        let back = person_address(&profile.id.to_string());
        let order = Order::Unmerge(a.clone(), b.clone());
        let preview = self.desk.preview(&order).await?.ok_or(NO_PERSON)?;
        let cards: Vec<_> = preview.people.iter().map(Card::of).collect();
        let afterwards = match cards.len() {
            1 => "It would still be one person, by what else was said".to_owned(),
            many => format!("There would be {many} people"),
        };
        let explanation = format!(
            "It was said that {a} and {b} are the same person. Taken back, everybody's profile, timeline and accounts are as \
             if it had never been said. That can be undone."
        );
        Ok(html(&Decision {
            frame: self.console.frame("Take this back?", "person", Some(session)),
            action: format!("{back}/unmerge"),
            back,
            back_name: profile.name,
            explanation,
            refused: preview.refused,
            afterwards,
            cards,
            conflicts: Vec::new(),
            left: String::new(),
            right: String::new(),
            fields: vec![("a", a.to_string()), ("b", b.to_string())],
            confirm: "Take it back",
        }))
    }

    /// What merging would lead to; first of all, with whom.
    pub(super) async fn preview_merge(&self, who: &str, query: &Pairs, session: &Session) -> Paged {
        let profile = self.known_profile(who).await?;
        let back = person_address(&profile.id.to_string());
        let base = format!("{back}/merge");
        if query.all("with").is_empty() && query.all("a").is_empty() {
            let text = query.all("q").to_owned();
            let found = self.desk.search(&text, FOUND).await?.into_iter().map(Hit::of);
            let found = found.filter_map(|hit| {
                let id = hit.id.filter(|id| *id != profile.id)?;
                Some(Hit { href: format!("{base}?with={}", part(&id.to_string())), ..hit })
            });
            let found = found.collect();
            let frame = self.console.frame("Merge", "person", Some(session));
            return Ok(html(&MergePage {
                frame,
                back,
                base,
                name: profile.name,
                query: text,
                found,
            }));
        }
        let (a, b) = match query.given("with") {
            Some(with) => {
                let ends = (self.desk.identifier(who).await?, self.desk.identifier(&with).await?);
                ends.0.zip(ends.1).ok_or(NO_PERSON)?
            }
            None => two(query)?,
        };
        let order = Order::Merge(a.clone(), b.clone());
        let preview = self.desk.preview(&order).await?.ok_or(NO_PERSON)?;
        let (left, right) =
            (self.known_profile(&a.to_string()).await?, self.known_profile(&b.to_string()).await?);
        let explanation = "Everything that either of them did becomes one person's, and so does what they do from now on. \
             That can be taken back.";
        Ok(html(&Decision {
            frame: self.console.frame("Are these the same person?", "person", Some(session)),
            action: base,
            back,
            back_name: profile.name,
            explanation: explanation.to_owned(),
            refused: preview.refused.clone(),
            afterwards: "There would be one person".to_owned(),
            cards: preview.people.iter().map(Card::of).collect(),
            conflicts: kept(&preview, &left, &right),
            left: left.name,
            right: right.name,
            fields: vec![("a", a.to_string()), ("b", b.to_string())],
            confirm: "Merge them",
        }))
    }

    /// The two that a form names, as long as somebody is known by each.
    async fn both(
        &self,
        form: &Pairs,
    ) -> Result<(Identifier<'static>, Identifier<'static>), Trouble> {
        let (a, b) = two(form)?;
        self.known_person(&a.to_string()).await?;
        self.known_person(&b.to_string()).await?;
        Ok((a, b))
    }

    /// Makes one person of two.
    pub(super) async fn merge(&self, who: &str, form: &Pairs, by: &str) -> Paged {
        let (a, b) = self.both(form).await?;
        self.desk.decide(&Order::Merge(a, b), by).await?.ok_or(NO_PERSON)?;
        let id = self.known_person(who).await?.to_string();
        Ok(see(&format!("{}?done=merged", person_address(&id))))
    }

    /// Takes a statement back.
    pub(super) async fn unmerge(&self, who: &str, form: &Pairs, by: &str) -> Paged {
        let (a, b) = two(form)?;
        let undo = format!("a={}&b={}", part(&a.to_string()), part(&b.to_string()));
        self.desk.decide(&Order::Unmerge(a, b), by).await?.ok_or(NO_PERSON)?;
        let id = self.known_person(who).await?.to_string();
        Ok(see(&format!("{}?done=taken-back&{undo}", person_address(&id))))
    }
}

/// What was just decided about this person, as the address says.
pub(super) fn done(id: &str, query: &Pairs) -> Option<Done> {
    let undo =
        |a: &str, b: &str| format!("{}/merge?a={}&b={}", person_address(id), part(a), part(b));
    match query.all("done") {
        "merged" => Some(Done { words: "Merged: from now on this is one person.", undo: None }),
        "taken-back" => Some(Done {
            words: "Taken back: as if it had never been said.",
            undo: Some(undo(query.all("a"), query.all("b"))),
        }),
        _ => None,
    }
}

/// The two identifiers of a query or form.
fn two(pairs: &Pairs) -> Result<(Identifier<'static>, Identifier<'static>), Trouble> {
    let one = |name: &str| {
        let identifier = pairs.all(name).parse::<Identifier<'_>>();
        identifier.map(Identifier::into_owned)
    };
    match (one("a"), one("b")) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        _ => Err(Trouble::Wrong("Two identifiers are wanted, each with its kind: follow a link.")),
    }
}
