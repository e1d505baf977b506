//! The fixtures of a folder, with the texts of the messages that its rules would send.
//! Promises the same reasons that the worker refuses for, made by the same code. Deliberately sends nothing, and does not look whether an
//! address is known: most fixtures name none.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, Result as Read};

use super::{Templates, context::told, in_app, looking::beside};
use crate::rules::{
    self, IN_APP, Patience, Pending, Records, Rehearsed, RuleError, RuleSet, Tested, What,
};

/// Runs all tests that stand beside the rules of a folder.
pub fn test(set: &Arc<RuleSet>, folder: &Path) -> Result<Vec<Tested>, RuleError> {
    let (tested, _) = run(set, folder, None)?;
    Ok(tested)
}

/// The same, as far as patience goes, and whether that was all of them.
pub(crate) fn test_within(
    set: &Arc<RuleSet>,
    folder: &Path,
    patience: Patience,
) -> Result<(Vec<Tested>, bool), RuleError> {
    run(set, folder, Some(patience))
}

fn run(
    set: &Arc<RuleSet>,
    folder: &Path,
    patience: Option<Patience>,
) -> Result<(Vec<Tested>, bool), RuleError> {
    let (templates, wrong) = beside(set, folder, None);
    if let Some(wrong) = wrong.into_iter().next() {
        return Err(wrong);
    }
    let rehearse = |db: &Connection, records: &dyn Records, pending: &Pending| {
        rehearsed(&templates, db, records, pending)
    };
    rules::test(set, folder, &rehearse, patience)
}

/// What would come of a message, in the order in which the worker asks.
fn rehearsed(
    templates: &Templates,
    db: &Connection,
    records: &dyn Records,
    pending: &Pending,
) -> Read<Option<Rehearsed>> {
    let (kind, template) = match &pending.what.what {
        What::Send { kind, template, .. } => (kind.as_str(), template.as_deref()),
        What::InApp { template, .. } => (IN_APP, Some(template.as_str())),
        What::Emit { .. } | What::Set { .. } | What::Ask { .. } => return Ok(None),
    };
    let told = told(db, records, pending)?;
    if let Some(reason) = told.wants_none_by(kind) {
        return Ok(Some(Rehearsed::NotWanted(reason)));
    }
    let rendered = told.rendered(Some(templates), template);
    let made = rendered.and_then(|rendered| match &pending.what.what {
        What::InApp { placement, .. } => in_app::event(pending, placement, &rendered).map(drop),
        _ => Ok(()),
    });
    Ok(Some(made.map_or_else(Rehearsed::Unsayable, |()| Rehearsed::Sent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with each of the tests of a folder with this rule, its template and these fixtures.
    fn wrong(rule: &str, template: (&str, &str), tests: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("a.toml", rule).unwrap();
        write(template.0, template.1).unwrap();
        let tests = tests.iter().map(|(events, expect)| {
            format!(
                "[[test]]\nname = 'x'\nuntil = '1d'\nevents = [{events}]\nexpect = [{expect}]\n"
            )
        });
        write("a.test.toml", &tests.collect::<String>()).unwrap();
        let set = Arc::new(RuleSet::read(folder.path()).unwrap());
        test(&set, folder.path()).unwrap().into_iter().map(|one| one.wrong).collect()
    }

    const LEFT: &str = "[rules.left]\non = 'Left'\nthen = [{ sms = 'x', template = 'left' }]\n";
    const TEXT: (&str, &str) =
        ("left.txt", "Hello,\n{{ person.traits.first_name }}: {{ event.properties.cart }}");
    /// As the template's own error says it.
    const MISSING: &str = "left.txt:2: `person.traits.first_name` has no value; say what to write instead with `|default(\"…\")`, or ask with `{% if … %}`";

    #[test]
    fn a_message_with_a_missing_value_fails_its_test_unless_it_is_expected() {
        let left = "{ at = '0s', track = 'Left', user = 'u', properties = { cart = 'a' } }";
        let named =
            &format!("{{ at = '0s', identify = {{ first_name = 'Ann' }}, user = 'u' }}, {left}");
        let fires = "{ rule = 'left', at = '0s', user = 'u' }";
        let refused = |part: &str| format!("{{ rule = 'left', user = 'u', refused = {part} }}");
        let is_meant = "; if that is meant, expect it: `refused` is a part of this";
        let would = format!(
            "a message of {{ rule = \"left\", at = \"0s\", user = \"u\" }} would be refused: {MISSING}{is_meant}"
        );
        let none: Vec<String> = Vec::new();
        let found = wrong(
            LEFT,
            TEXT,
            &[
                (left, fires),
                (named, fires),
                (left, &refused("'first_name'")),
                (left, &refused("['first_name', 'no value']")),
                (left, &refused("'cart'")),
                (named, &refused("'first_name'")),
                (left, ""),
            ],
        );
        assert_eq!(found[0], [would]);
        assert_eq!([&found[1], &found[2], &found[3]], [&none; 3]);
        let did_not = |part: &str| {
            format!("did not fire: {{ rule = \"left\", user = \"u\", refused = \"{part}\" }}")
        };
        let fired = |refused: &str| {
            format!(
                "fired, and was not expected: {{ rule = \"left\", at = \"0s\", user = \"u\"{refused} }}"
            )
        };
        let with_reason = format!(", refused = {}", serde_json::json!(MISSING));
        assert_eq!(found[4], [did_not("cart"), fired(&with_reason)]);
        assert_eq!(found[5], [did_not("first_name"), fired("")]);
        assert_eq!(found[6], [fired(&with_reason)]);
        // What is told can be written into the fixture.
        let told = found[6][0].strip_prefix("fired, and was not expected: ").unwrap();
        assert_eq!(wrong(LEFT, TEXT, &[(left, told)]), [none]);
    }

    #[test]
    fn a_message_is_made_of_what_is_known_when_it_is_sent() {
        let left = |at: &str| {
            format!("{{ at = '{at}', track = 'Left', user = 'u', properties = {{ cart = 'a' }} }}")
        };
        let named = "{ at = '1m', identify = { first_name = 'Ann' }, user = 'u' }";
        let fires = "{ rule = 'left', at = '0s' }";
        // What comes a minute later does not help.
        let found = wrong(LEFT, TEXT, &[(&format!("{}, {named}", left("0s")), fires)]);
        assert!(found[0][0].contains(MISSING), "{found:?}");
        // Unless the message has waited for the morning.
        let night =
            format!("quiet_hours = {{ from = '11:00', to = '14:00', kinds = ['sms'] }}\n{LEFT}");
        let found = wrong(&night, TEXT, &[(&format!("{}, {named}", left("0s")), fires)]);
        assert_eq!(found, [Vec::<String>::new()]);
        // Of two of the same rule the one that is expected to be refused is found in either order.
        let both = format!("{}, {named}, {}", left("0s"), left("2m"));
        let (whole, refused) = ("{ rule = 'left' }", "{ rule = 'left', refused = 'first_name' }");
        let orders = [format!("{whole}, {refused}"), format!("{refused}, {whole}")];
        let found = wrong(LEFT, TEXT, &orders.each_ref().map(|expect| (&*both, &**expect)));
        assert_eq!(found, [Vec::<String>::new(), Vec::new()]);
    }

    #[test]
    fn who_wants_no_message_is_sent_none_that_could_be_refused_and_a_cap_may_be_expected() {
        let events = |consent: &str| {
            let left = "{ at = '1m', track = 'Left', user = 'u' }";
            format!("{{ at = '0s', identify = {{ consent_sms = {consent} }}, user = 'u' }}, {left}")
        };
        let (no, yes) = (events("false"), events("true"));
        let fires = "{ rule = 'left' }";
        let not_wanted = "{ rule = 'left', refused = 'does not want' }";
        let found = wrong(LEFT, TEXT, &[(&no, fires), (&no, not_wanted), (&yes, fires)]);
        assert_eq!([found[0].len(), found[1].len(), found[2].len()], [0, 0, 1], "{found:?}");

        let capped = format!("caps.sms = {{ times = 1, within = '1d' }}\n{LEFT}");
        let two =
            "{ at = '0s', track = 'Left', user = 'u' }, { at = '1m', track = 'Left', user = 'u' }";
        let text = ("left.txt", "Hello");
        let refused = "{ rule = 'left', at = '0s' }, { rule = 'left', at = '1m', refused = 'cap' }";
        let either = "{ rule = 'left', at = '0s' }, { rule = 'left', at = '1m' }";
        let other = "{ rule = 'left', at = '0s', refused = 'cap' }, { rule = 'left', at = '1m' }";
        let found = wrong(&capped, text, &[(two, refused), (two, either), (two, other)]);
        assert_eq!([found[0].len(), found[1].len(), found[2].len()], [0, 0, 2], "{found:?}");
    }

    /// As Kubernetes puts a ConfigMap into a folder, and as Nix does from outside it.
    #[cfg(unix)]
    #[test]
    fn files_may_be_links() {
        use std::{fs, os::unix::fs::symlink};

        let (folder, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (folder, store) = (folder.path(), store.path());
        let test_of = "[[test]]\nname = 'x'\nevents = [{ at = '0s', track = 'Left', user = 'u' }]\n\
                       expect = [{ rule = 'left', refused = 'first_name' }]\n";
        let files = [("a.toml", LEFT), TEXT, ("a.test.toml", test_of)];
        fs::create_dir(folder.join("..2026_01_01")).unwrap();
        symlink("..2026_01_01", folder.join("..data")).unwrap();
        for (name, text) in files {
            fs::write(folder.join("..2026_01_01").join(name), text).unwrap();
            symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
        }
        let ran = |folder: &Path| {
            let set = Arc::new(RuleSet::read(folder).unwrap());
            let tested = test(&set, folder).unwrap();
            tested.into_iter().map(|one| one.wrong).collect::<Vec<_>>()
        };
        let one = [Vec::<String>::new()];
        assert_eq!(ran(folder), one);
        for (name, text) in files {
            fs::remove_file(folder.join(name)).unwrap();
            fs::write(store.join(name), text).unwrap();
            symlink(store.join(name), folder.join(name)).unwrap();
        }
        assert_eq!(ran(folder), one);
    }

    #[test]
    fn a_message_in_the_app_is_refused_for_what_the_page_would_not_be_told() {
        let rule = "[rules.left]\non = 'Left'\nthen = [{ in_app = 'card', template = 'left' }]\n";
        let text = ("left.txt", "+++\nurl = '{{ event.properties.url }}'\n+++\nHello");
        let to = |url: &str| {
            format!("{{ at = '0s', track = 'Left', user = 'u', properties = {{ url = '{url}' }} }}")
        };
        let (page, script) = (to("/cart"), to("javascript:x()"));
        let fires = "{ rule = 'left' }";
        let found = wrong(rule, text, &[(&page, fires), (&script, fires)]);
        assert_eq!((found[0].len(), found[1].len()), (0, 1), "{found:?}");
        assert!(found[1][0].contains("url"), "{found:?}");
    }
}
