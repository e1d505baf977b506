//! Templates as teams write them, and as they get them wrong.

use std::{fs, path::Path};

use serde_json::json;

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(files: &[(&str, &str)]) -> Result<Templates, String> {
    let folder = folder(files);
    let named = |error: TemplateError| {
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    Templates::read(folder.path()).map_err(named)
}

fn one(file: &str, text: &str) -> Templates {
    read(&[(file, text)]).unwrap()
}

#[test]
fn all_of_a_name_are_filled_in_and_each_is_escaped_for_where_it_goes() {
    let templates = read(&[
        ("won.html", "+++\nsubject = \"{{ person.name }} & you\"\n+++\n<p>{{ person.name }}</p>"),
        ("won.txt", "{{ person.name }}: {{ scores.health }}"),
        ("won.md", "+++\ntitle = \"Won\\n{{ person.name }}\"\n+++\n*{{ person.name }}*"),
        ("other.txt", "x"),
        (".hidden.txt", "{{ nothing }}"),
        ("README", "{{ nothing }}"),
    ])
    .unwrap();
    assert_eq!(templates.names(), ["other", "won"]);
    let rendered = templates
        .render("won", &json!({"person": {"name": "<b>A&B_C</b>\nD"}, "scores": {"health": 0.5}}))
        .unwrap();
    assert_eq!(rendered.subject.unwrap(), "<b>A&B_C</b> D & you");
    assert_eq!(rendered.title.unwrap(), "Won <b>A&B_C</b> D");
    assert_eq!(rendered.text.unwrap(), "<b>A&B_C</b>\nD: 0.5");
    assert_eq!(rendered.html.unwrap(), "<p>&lt;b&gt;A&amp;B_C&lt;&#x2f;b&gt;\nD</p>");
    assert_eq!(rendered.markdown.unwrap(), r"*\<b\>A\&B\_C\</b\> D*");
}

#[test]
fn what_there_never_is_is_found_when_it_is_read() {
    for (text, line, part) in [
        ("\n{{ persn.name }}", 2, "unknown variable `persn`; did you mean `person`?"),
        ("persn\n{{ event.persn }}\n{% if persn %}{% endif %}", 3, "did you mean `person`?"),
        ("{{ zebra }}", 1, "expected one of `person`, `account`"),
        ("{# {{ persn }} #}\n{{ 'persn' }}{{ person.name|persn }}", 2, "unknown filter `persn`"),
        ("+++\ntitle = 'x'\n+++\n{{ person.name | uper }}", 4, "unknown filter `uper`"),
        (
            "+++\ntitle = 'x'\n+++\n\n{% include 'footer.txt' %}",
            5,
            "no template `footer.txt` in this folder",
        ),
        ("{% extends '../a.txt' %}", 1, "no template `../a.txt`"),
        ("{{ person.name }", 1, ""),
        ("a\n{% if person %}", 2, ""),
        ("+++\nsubject = '{{ persn }}'\n+++\n", 2, "`subject`: unknown variable `persn`"),
        ("+++\nsubject = 'x'\n+++\n\n{{ persn }}", 5, "unknown variable `persn`"),
        ("+++\ntitle = 1\n+++\n", 2, "expected a text in quotes"),
    ] {
        let error = read(&[("a.txt", text)]).unwrap_err();
        assert!(
            error.starts_with(&format!("a.txt:{line}: ")) && error.contains(part),
            "{text}: {error}"
        );
    }
    // What a template names itself, and what the language has.
    one("a.txt", "{% set x = 1 %}{% for y in range(3) %}{{ x + y }}{{ loop.index }}{% endfor %}");
    let missing = Templates::read(Path::new("/nowhere")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the template /nowhere: "), "{missing}");
    let long = "x".repeat(300_000);
    assert!(read(&[("a.txt", &long)]).unwrap_err().contains("more than 262144 bytes"));
}

#[test]
fn a_message_in_which_a_value_is_missing_is_not_made() {
    let context =
        json!({"person": {"name": null}, "event": {"secret": "Rumpelstiltskin", "list": [null]}});
    for (text, line, variable) in [
        ("Hi\n{{ person.name }}", 2, "person.name"),
        ("{{ person.traits.nmae }}", 1, "person.traits.nmae"),
        ("{{ person.traits.plan }}", 1, "person.traits.plan"),
        ("{{ person.traits.nmae|upper }}", 1, "person.traits.nmae|upper"),
        ("{{ event.secret ~ person.traits.nmae }}", 1, "event.secret ~ person.traits.nmae"),
        ("{{ account.name }}", 1, "account.name"),
        ("{{ account }}", 1, "account"),
        ("{% for x in event.list %}{{ x }}{% endfor %}", 1, "x"),
        ("{% for x in event.lists %}{{ x }}{% endfor %}", 1, "event.lists"),
        ("+++\ntitle = 'x'\n+++\n\n{{ account }}", 5, "account"),
    ] {
        let refused = one("a.txt", text).render("a", &context).unwrap_err();
        let RefusedToSend::Missing { file, line: at, variable: named } = &refused else {
            panic!("{refused}")
        };
        assert_eq!((&**file, *at), ("a.txt", line), "{text}");
        assert!(named.contains(variable) || variable.contains(named.as_str()), "{text}: {named}");
        assert!(!refused.to_string().contains("Rumpel"), "{refused}");
    }
    for (text, becomes) in [
        ("{{ person.name|default('there') }}", "there"),
        ("{% if person.name %}Hi{% else %}Hello{% endif %}", "Hello"),
        ("{{ 'a' if person.name is defined else 'b' }}", "b"),
    ] {
        assert_eq!(one("a.txt", text).render("a", &context).unwrap().text.unwrap(), becomes);
    }
    let none = one("a.txt", "x").render("b", &context).unwrap_err();
    assert!(none.to_string().starts_with("there is no template `b`"), "{none}");
}

#[test]
fn no_error_says_a_value() {
    let context = json!({"person": {"name": "Rumpelstiltskin", "age": "Rumpel"}});
    for text in [
        "{{ person.name + 1 }}",
        "{{ person.name() }}",
        "{{ person.name.first.second }}",
        "{{ [person.name]|join(1, 2, 3) }}",
        "{{ person.traits.age|int }}",
        "{% include person.name %}",
    ] {
        let refused = one("a.txt", text).render("a", &context).unwrap_err().to_string();
        assert!(
            refused.starts_with("a.txt:1: ") && !refused.contains("Rumpel"),
            "{text}: {refused}"
        );
    }
}

#[test]
fn a_template_includes_its_neighbours_and_no_other_file() {
    let templates = read(&[
        ("a.html", "x{% include 'footer.html' %}"),
        ("footer.html", "+++\ntitle = 't'\n+++\n<i>{{ person.name }}</i>"),
        ("b.html", "{% include '../' ~ 'secret.txt' %}"),
        ("c.html", "{% set x = '/etc/hostname' %}{% include x %}"),
        ("d.html", "{% include 'd.html' %}"),
    ])
    .unwrap();
    let html = templates.render("a", &json!({"person": {"name": "<A>"}})).unwrap().html.unwrap();
    assert_eq!(html, "x<i>&lt;A&gt;</i>");
    let refused = templates.render("a", &json!({})).unwrap_err();
    assert!(
        refused.to_string().starts_with("footer.html:4: `person.name` has no value"),
        "{refused}"
    );
    for outside in ["b", "c", "d"] {
        templates.render(outside, &json!({})).unwrap_err();
    }
}

#[test]
fn what_never_ends_ends() {
    for text in [
        "{% for x in range(10000) %}{% for y in range(10000) %}{{ y }}{% endfor %}{% endfor %}",
        "{% for x in range(9000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{{ 'x' * 1000000 }}",
    ] {
        let refused = one("a.txt", text).render("a", &json!({})).unwrap_err();
        assert!(matches!(refused, RefusedToSend::TooMuch { line: 1, .. }), "{text}: {refused}");
    }
}

#[test]
fn a_link_has_what_is_filled_in_percent_encoded() {
    let line = Line::read("https://h/u?p={{ person.id }}&x=1").unwrap();
    let link = line.render(&json!({"person": {"id": "a&b=c\r\nX: y/é"}})).unwrap();
    assert_eq!(link, "https://h/u?p=a%26b%3Dc%0D%0AX%3A%20y%2F%C3%A9&x=1");
    assert!(line.render(&json!({})).unwrap_err().to_string().contains("`person.id` has no value"));
    assert!(Line::read("https://h/{{ persn }}").unwrap_err().contains("did you mean `person`?"));
}

#[test]
fn what_is_not_below_a_name_is_found_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let rules =
        "[features.core_last]\non = 'A'\nlast = 'event.time'\n[scores.risk]\nterms = { a = '1' }\n";
    fs::write(folder.path().join("a.toml"), rules).unwrap();
    let known = Known::of(&crate::rules::RuleSet::read(folder.path()).unwrap());
    let read = |text: &str| {
        fs::write(folder.path().join("a.md"), text).unwrap();
        let (_, wrong) = Templates::read_as_far(folder.path(), &known);
        wrong.into_iter().next().map_or(Ok(()), |error| Err(error.to_string()))
    };
    for sound in [
        "{{ person.traits.plan }} {{ event.properties.x }} {{ features.core_last }} {{ scores.risk }} {{ account.main_user.name }}",
        // Another thing of that name.
        "{% for person in event.properties.people %}{{ person.nick }}{% endfor %}",
    ] {
        assert_eq!(read(sound), Ok(()), "{sound}");
    }
    for (text, wrong) in [
        (
            "+++\ntitle = 'a'\n+++\n\n{{ features.core_lst }}",
            "a.md:5: there is no `features.core_lst`; did you mean `features.core_last`? Expected one of `core_last`",
        ),
        (
            "{{ scores.risk }}\n{% if person.nmae %}x{% endif %}",
            "a.md:2: there is no `person.nmae`; did you mean `person.name`? Expected one of `id`, `name`",
        ),
        (
            "+++\ntitle = '{{ scores.rsk }}'\n+++\n",
            "a.md:2: `title`: there is no `scores.rsk`; did you mean `scores.risk`? Expected one of `risk`",
        ),
        ("{{ account.plan }}", "a.md:1: there is no `account.plan`"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(wrong), "{error}");
    }
}

/// As `examples/rules/README.md` has it.
#[test]
fn a_number_is_rounded_where_a_template_says_so() {
    let context =
        json!({"features": {"gap": 0.400_000_027_88, "looks": 12}, "scores": {"risk": 0.7049}});
    for (text, filled) in [
        ("{{ features.gap }}", "0.40000002788"),
        ("{{ features.gap | round(2) }}", "0.4"),
        ("{{ scores.risk | round(2) }}", "0.7"),
        ("{{ (scores.risk * 100) | round | int }} %", "70 %"),
        ("{{ features.looks | round(2) }}", "12"),
    ] {
        let rendered = one("a.txt", text).render("a", &context).unwrap();
        assert_eq!(rendered.text.as_deref(), Some(filled), "{text}");
    }
}

#[test]
fn reasons_are_told_in_words_where_there_are_any_as_the_guide_does() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/rules/README.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (from, end) = ("{% for reason in reasons %}", "{% endfor %}");
    let (_, line) = guide.split_once(from).unwrap();
    let line = format!("{from}{}; {end}", line.split_once(end).unwrap().0);
    let context = json!({"reasons": [
        {"text": "cancel page", "value": 0.42, "words": "cancel page +0.42", "expression": "0.42"},
        {"text": "features.a + 1 > 2", "value": true},
    ]});
    let told = one("a.txt", &line).render("a", &context).unwrap().text.unwrap();
    assert_eq!(told, "cancel page +0.42; features.a + 1 > 2; ");
}
