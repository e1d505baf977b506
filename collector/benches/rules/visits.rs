//! Visits of a shop's people, many at a time, each event a text: what is folded, and what is sent.
//! Promises the same visits each time, and an id that tells which event it was. Knows nothing of rules but what they look at: of a
//! hundred events one has the roll 7.

use crate::events::Dice;

/// Visits under way at a time, whose events come interleaved.
const AT_ONCE: usize = 256;
/// Events of a visit.
pub(crate) const VISIT: u64 = 5;
/// Of ten people so many never say who they are.
const ANONYMOUS_OF_TEN: u64 = 3;
/// Every such user has a second device, which is merged when it signs in.
const SECOND_DEVICE_EVERY: u64 = 3;
/// What fires.
pub(crate) const CHOSEN: u64 = 7;
/// People, by how far their numbers are apart: neighbours in time are not neighbours in number.
const APART: u64 = 7919;

/// Events, one after the other.
pub(crate) struct Visits {
    people: u64,
    next: u64,
    under_way: Vec<(u64, u64)>,
    dice: Dice,
    made: u64,
}

impl Visits {
    /// One visit of each of so many people, and then again. The number of people must have no factor of 7,919.
    pub(crate) fn new(people: u64) -> Self {
        Self { people, next: 0, under_way: Vec::new(), dice: Dice(1), made: 0 }
    }

    /// How many were made: the next one's number.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// The next event, as connection `connection` sends it as its event `number`; until everybody has come by, if once is enough.
    pub(crate) fn next(&mut self, once: bool, id: (u64, u64)) -> Option<String> {
        while self.under_way.len() < AT_ONCE && (!once || self.next < self.people) {
            self.under_way.push((self.next * APART % self.people, 0));
            self.next += 1;
        }
        if self.under_way.is_empty() {
            return None;
        }
        let at = self.dice.below(self.under_way.len() as u64);
        let at = usize::try_from(at).unwrap_or(0);
        let (person, step) = self.under_way[at];
        match step + 1 {
            VISIT => drop(self.under_way.swap_remove(at)),
            step => self.under_way[at].1 = step,
        }
        self.made += 1;
        Some(event((person, step), self.made, id))
    }
}

/// Whether the event with this number is one of those that set a rule off.
pub(crate) fn is_chosen(n: u64) -> bool {
    n % 100 == CHOSEN
}

/// A message id in the shape of those of the other benchmarks.
pub(crate) fn message_id((connection, number): (u64, u64)) -> String {
    format!("019aa000-0000-7000-8{connection:03x}-{number:012x}")
}

/// Somebody views a product: what is decided about.
pub(crate) fn decided(person: u64, id: (u64, u64)) -> String {
    event((person, 2), id.1 * 100 + 1, id)
}

/// The id of a person's first device: as long as those in life.
fn device(person: u64) -> String {
    format!("{:08x}-0000-4000-8000-{person:012x}", person.wrapping_mul(0x9e37_79b9) & 0xffff_ffff)
}

fn event((person, step): (u64, u64), n: u64, id: (u64, u64)) -> String {
    let is_anonymous = person % 10 < ANONYMOUS_OF_TEN;
    let other = person.is_multiple_of(SECOND_DEVICE_EVERY) && step >= 3;
    let device = if other { device(person + (1 << 40)) } else { device(person) };
    let what = match step {
        0 => "\"type\":\"page\",\"name\":\"Pricing\"".to_owned(),
        1 if !is_anonymous => format!(
            "\"type\":\"identify\",\"traits\":{{\"email\":\"u-{person}@example.com\",\"plan\":\"pro\",\
             \"name\":\"Shopper {person}\",\"renews_at\":\"2027-11-22T00:00:00.000Z\"}}"
        ),
        3 => "\"type\":\"track\",\"event\":\"Product Added\"".to_owned(),
        4 if n.is_multiple_of(2) => "\"type\":\"track\",\"event\":\"Order Completed\"".to_owned(),
        _ => "\"type\":\"track\",\"event\":\"Product Viewed\"".to_owned(),
    };
    let user = match step > 0 && !is_anonymous {
        true => format!("\"userId\":\"u-{person}\","),
        false => String::new(),
    };
    let (roll, sku, cents) = (n % 100, n % 9, n % 90);
    format!(
        "{{{what},{user}\"anonymousId\":\"{device}\",\"messageId\":\"{}\",\"properties\":{{\"sku\":\"kettle-{sku}\",\
         \"price\":{}.{cents:02},\"currency\":\"EUR\",\"cart_id\":\"c-{person}\",\"roll\":{roll}}},\
         \"context\":{{\"locale\":\"de-DE\",\"timezone\":\"Europe/Berlin\",\"sessionId\":\"{person}\",\
         \"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36\",\
         \"page\":{{\"url\":\"https://shop.example/pricing\",\"path\":\"/pricing\",\"title\":\"Pricing\"}},\
         \"library\":{{\"name\":\"headwater\",\"version\":\"0.1.0\"}}}}}}",
        message_id(id),
        5 + n % 400,
    )
}
