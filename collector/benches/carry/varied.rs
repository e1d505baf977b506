//! How much disk events take that differ as those of real people do: other people, pages, browsers, products and moments, each
//! drawn anew. Promises that nothing but the share of bytes is claimed: real traffic repeats itself more than this does.
//! Knows nothing of time.

use std::path::Path;

use crate::{
    events::Dice,
    filled::{open, store},
    server::size,
};

/// Made and stored for each row.
const EVENTS: u64 = 40_000;
/// Who comes by, and where they go. Each person has a browser, a language and a device queue.
const PEOPLE: u64 = 20_000;
const PAGES: u64 = 3_000;
const PRODUCTS: u64 = 90_000;
const WORDS: u64 = 4_000;

/// Prints the share of the received bytes that is on disk, for commits of several sizes.
pub(crate) fn disk(folder: &Path) -> anyhow::Result<()> {
    println!("{EVENTS} events of varied people, pages, browsers and products\n");
    println!(
        "| batches at once | bytes received | bytes on disk, of the whole data folder | share |"
    );
    println!("|---|---|---|---|");
    for at_once in [1, 32] {
        let data = folder.join(format!("varied-{at_once}"));
        let log = open(&data)?;
        let mut dice = Dice(7);
        let (mut received, mut made) = (0, 0);
        let bodies = (0..EVENTS / 20).map(|_| {
            let events: Vec<_> = (0..20)
                .map(|_| {
                    made += 1;
                    event(made, &mut dice)
                })
                .collect();
            let body = format!("{{\"batch\":[{}],\"sentAt\":\"{SENT}\"}}", events.join(","));
            received += body.len();
            Ok(body.into_bytes())
        });
        store(&log, bodies, at_once)?;
        log.close();
        let stored = size(&data)?;
        let share = 100.0 * stored as f64 / received as f64;
        println!("| {at_once} | {received} | {stored} | {share:.1} % |");
        std::fs::remove_dir_all(&data)?;
    }
    println!();
    Ok(())
}

const SENT: &str = "2026-11-22T00:00:01.000Z";

/// What belongs to somebody or something is drawn from its number: the same each time.
fn of(kind: u64, number: u64) -> Dice {
    Dice(kind << 48 | number)
}

fn event(n: u64, dice: &mut Dice) -> String {
    let (person, page, product) = (dice.below(PEOPLE), dice.below(PAGES), dice.below(PRODUCTS));
    let (mut who, mut what) = (of(1, person), of(3, product));
    let (path, referrer) = (path(page), path(dice.below(PAGES)));
    let name = dice.pick(&["Product Viewed", "Product Added", "Link Clicked", "Order Completed"]);
    let id = format!(
        "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
        0x019a_a000 + n / 4096,
        n & 0xffff,
        dice.below(0x1000),
        0x8000 | dice.below(0x4000),
        dice.below(1 << 48),
    );
    let device = format!("{:08x}-0000-4000-8000-{:012x}", who.below(1 << 32), who.below(1 << 48));
    let browser = format!(
        "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.{}.{} Safari/537.36",
        who.pick(&[
            "Windows NT 10.0; Win64; x64",
            "Macintosh; Intel Mac OS X 10_15_7",
            "X11; Linux x86_64",
            "Linux; Android 14; K",
        ]),
        110 + who.below(30),
        1000 + who.below(6000),
        who.below(200),
    );
    format!(
        "{{\"type\":\"track\",\"event\":\"{name}\",\"messageId\":\"{id}\",\"anonymousId\":\"{device}\",\
         \"timestamp\":\"2026-11-22T00:{:02}:{:02}.{:03}Z\",\"properties\":{{\"product_id\":\"sku-{product}\",\
         \"name\":\"{}\",\"price\":{}.{:02},\"currency\":\"EUR\",\"quantity\":{}}},\"context\":{{\"page\":{{\
         \"path\":\"{path}\",\"url\":\"https://shop.example{path}\",\"title\":\"{}\",\
         \"referrer\":\"https://shop.example{referrer}\"}},\"userAgent\":\"{browser}\",\"locale\":\"{}\",\
         \"timezone\":\"{}\",\"library\":{{\"name\":\"headwater.js\",\"version\":\"0.1.0\"}},\
         \"sessionId\":1763769{:06},\"headwater\":{{\"queue\":\"{:022x}\",\"seq\":{}}}}}}}",
        n / 60_000 % 60,
        n / 1000 % 60,
        n % 1000,
        words(&mut what, 3),
        what.below(500),
        what.below(100),
        1 + dice.below(3),
        words(&mut of(2, page), 4),
        who.pick(&["en-US", "en-GB", "de-DE", "fr-FR", "es-ES", "ja-JP"]),
        who.pick(&["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Europe/Paris"]),
        who.below(1_000_000),
        u128::from(who.next()) << 22,
        // Not a device's honest count: that would need everybody's history. It takes the same room.
        n,
    )
}

fn path(page: u64) -> String {
    let mut dice = of(2, page);
    (0..1 + dice.below(4)).map(|_| format!("/{}", word(dice.below(WORDS)))).collect()
}

fn words(dice: &mut Dice, count: u64) -> String {
    (0..count).map(|_| word(dice.below(WORDS))).collect::<Vec<_>>().join(" ")
}

/// One of the language's words, the same for the same number.
fn word(number: u64) -> String {
    let mut dice = of(4, number);
    (0..1 + dice.below(3))
        .map(|_| {
            dice.pick(&[
                "an", "ber", "co", "den", "el", "fi", "gra", "hol", "in", "ka", "lor", "mi", "no",
                "per", "ra", "sto", "ti", "un", "vel", "wa",
            ])
        })
        .collect()
}
