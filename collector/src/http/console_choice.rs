//! Whom a text means that somebody has typed: a name, an address, an id, as the search for people finds them.
//! Promises that nobody is taken for another: where several begin alike, who asks chooses. Deliberately searches in no other way than
//! that search does.

use super::{
    Http,
    console::{FOUND, Trouble},
};
use crate::{
    console::{Choice, Choices},
    people::Found,
};

/// Also where who was found has gone meanwhile.
pub(super) const NOBODY: Trouble = Trouble::NotFound("Nobody is known by this.");

/// Found of all kinds, so that among them enough are of the kind that is wanted.
const LOOKED_AT: usize = 4 * FOUND;

/// Who may be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    People,
    Accounts,
    /// Accounts first.
    AccountsAndPeople,
}

/// Whom a text means.
pub(super) enum Meant {
    /// The id of the one that it can mean.
    One(String),
    /// Several to choose from, or none.
    Several(Choices),
}

impl Http {
    /// Whom of these kinds this means. `address` is where one who is chosen leads.
    pub(super) async fn meant(
        &self,
        text: &str,
        kinds: Kinds,
        address: impl Fn(&str) -> String,
    ) -> Result<Meant, Trouble> {
        let found = self.desk.search(text, LOOKED_AT).await?;
        let (accounts, people): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|it| matches!(it, Found::Account { .. }));
        let wanted: Vec<_> = match kinds {
            Kinds::People => people.iter().collect(),
            Kinds::Accounts => accounts.iter().collect(),
            Kinds::AccountsAndPeople => accounts.iter().chain(&people).collect(),
        };
        if let [one] = wanted[..] {
            return Ok(Meant::One(match one {
                Found::Person { id, .. } => id.to_string(),
                Found::Account { id, .. } => id.clone(),
            }));
        }
        let mut choices = Choices {
            text: text.to_owned(),
            has_more: wanted.len() > FOUND,
            none: match kinds {
                Kinds::People => "nobody’s name, e-mail or id begins with this",
                Kinds::Accounts => "no account’s name or id begins with this",
                Kinds::AccountsAndPeople => {
                    "no account’s name or id begins with this, nor anybody’s name, e-mail or id"
                }
            },
            ..Choices::default()
        };
        for one in wanted.into_iter().take(FOUND) {
            choices.all.extend(self.choice(one, &address).await?);
        }
        if kinds == Kinds::People && choices.all.is_empty() {
            self.add_members(&accounts, &mut choices, &address).await?;
        }
        Ok(Meant::Several(choices))
    }

    /// One that was found; `None` if it is gone meanwhile.
    async fn choice(
        &self,
        found: &Found,
        address: &impl Fn(&str) -> String,
    ) -> Result<Option<Choice>, Trouble> {
        Ok(match found {
            Found::Person { id, because, .. } => {
                let id = id.to_string();
                let profile = self.desk.profile(&id).await?;
                profile.map(|profile| Choice::of_person(&profile, because, address(&id)))
            }
            Found::Account { id, .. } => {
                let account = self.desk.account(id).await?;
                account.map(|account| Choice::of_account(&account, address(id)))
            }
        })
    }

    /// Where people were asked for, and only accounts begin like that: theirs, the most active first.
    async fn add_members(
        &self,
        accounts: &[Found],
        choices: &mut Choices,
        address: &impl Fn(&str) -> String,
    ) -> Result<(), Trouble> {
        for found in accounts {
            let Found::Account { id, .. } = found else { continue };
            let Some(account) = self.desk.account(id).await? else { continue };
            for member in account.members {
                if choices.all.len() >= FOUND {
                    choices.has_more = true;
                    return Ok(());
                }
                let id = member.person.to_string();
                if let Some(profile) = self.desk.profile(&id).await? {
                    choices.all.push(Choice::of_person(&profile, "", address(&id)));
                }
            }
        }
        Ok(())
    }
}
