//! Whether rules find what they send by: destinations, templates, and in those what is to be filled in.
//! Promises all that a start would stumble over, with file and line, and of a template what none of its rules' messages could say.
//! Deliberately opens no destination and changes nothing.

use std::{collections::BTreeMap, path::Path};

use super::{
    TemplateError, Templates,
    template::{Known, Mention},
};
use crate::{
    config::{Config, did_you_mean},
    rules::{ByTime, IN_APP, RuleError, RuleErrors, RuleSet, Sends, doubts, unread},
};

/// What came of looking at a folder of rules.
#[derive(Debug)]
pub struct Looked {
    /// As far as it could be read.
    pub set: RuleSet,
    /// All that is wrong: rule files, templates, and destinations where a configuration was given.
    pub wrong: RuleErrors,
    /// What can be used, and is hardly meant.
    pub doubtful: RuleErrors,
}

/// The kinds of destinations, by name.
pub(super) type Kinds<'a> = BTreeMap<&'a str, &'static str>;

/// Reads rules and templates, and looks whether they go together. Without a configuration nothing is said of destinations.
pub fn look(folder: &Path, config: Option<&Config>) -> Looked {
    let (set, wrong) = RuleSet::read_as_far(folder);
    let mut wrong = wrong.into_all();
    let kinds: Option<Kinds<'_>> = config.map(|config| {
        config.destinations.iter().map(|(name, of)| (name.as_str(), of.kind())).collect()
    });
    let (templates, more) = beside(&set, folder, kinds.as_ref());
    wrong.extend(more);
    let mut doubtful = mentions(&set, &templates, folder, perhaps_without_event);
    // What every source may send is known only where each of them says it.
    let listed = config.filter(|config| !config.sources.is_empty());
    let listed = listed.filter(|it| it.sources.values().all(|source| source.events.is_some()));
    let admits = listed.map(|config| {
        |name: &str| {
            let mut lists = config.sources.values().filter_map(|source| source.events.as_ref());
            lists.any(|events| events.admits("track", Some(name)))
        }
    });
    let admits = admits.as_ref().map(|admits| admits as &dyn Fn(&str) -> bool);
    doubtful.extend(doubts(&set, folder, admits));
    // What a rule that cannot be read would have read is not known.
    if wrong.is_empty() {
        doubtful.extend(unread(&set));
    }
    Looked { set, wrong: RuleErrors::new(wrong), doubtful: RuleErrors::new(doubtful) }
}

/// The templates that stand beside rules, and all that is wrong with them and with what rules name.
pub(super) fn beside(
    rules: &RuleSet,
    folder: &Path,
    kinds: Option<&Kinds<'_>>,
) -> (Templates, Vec<RuleError>) {
    let (templates, unusable) = Templates::read_as_far(folder, &Known::of(rules));
    let mut wrong: Vec<RuleError> = unusable.into_iter().map(of_template).collect();
    for sends in rules.sends() {
        let at = |line: usize, message: String| RuleError {
            file: sends.file.to_owned(),
            line,
            message: format!("the rule `{}`: {message}", sends.rule),
        };
        let destination = kinds.and_then(|kinds| no_destination(&sends, kinds));
        wrong.extend(destination.map(|message| at(sends.destination_line, message)));
        let Some(template) = sends.template else { continue };
        let message = no_text(&sends, template, &templates);
        wrong.extend(message.map(|message| at(sends.template_line, message)));
    }
    wrong.extend(mentions(rules, &templates, folder, |sends, mention| {
        never_told(sends, mention, rules)
    }));
    (templates, wrong)
}

/// What is to be said of what the templates of rules mention, with its place in them.
fn mentions(
    rules: &RuleSet,
    templates: &Templates,
    folder: &Path,
    say: impl Fn(&Sends<'_>, &Mention) -> Option<String>,
) -> Vec<RuleError> {
    let mut said = Vec::new();
    for sends in rules.sends() {
        for mention in templates.mentions(sends.template.unwrap_or_default()) {
            if let Some(message) = say(&sends, &mention) {
                let file = folder.join(&mention.file).display().to_string();
                said.push(RuleError { file, line: mention.line, message });
            }
        }
    }
    said
}

fn of_template(error: TemplateError) -> RuleError {
    let whole = |path: &Path, message: String| RuleError {
        file: path.display().to_string(),
        line: 0,
        message,
    };
    match error {
        TemplateError::Unreadable { path, cause } => {
            whole(&path, format!("cannot read the template: {cause}"))
        }
        TemplateError::TooMany { folder, most } => {
            whole(&folder, format!("more than {most} templates; is it the right folder?"))
        }
        TemplateError::Wrong { path, line, what } => RuleError { line, ..whole(&path, what) },
    }
}

/// What is wrong with a destination that a rule names.
fn no_destination(sends: &Sends<'_>, kinds: &Kinds<'_>) -> Option<String> {
    let (name, wanted) = (sends.destination?, sends.kind);
    match kinds.get(name) {
        Some(kind) if *kind == wanted => None,
        Some(kind) => {
            Some(format!("`{wanted} = \"{name}\"`: this destination is of the kind `{kind}`"))
        }
        None => {
            let of_kind = kinds.iter().filter(|(_, kind)| **kind == wanted).map(|(name, _)| *name);
            let meant = did_you_mean(name, of_kind);
            Some(format!(
                "there is no destination `{name}`; configure it as `[destinations.{name}]`{meant}"
            ))
        }
    }
}

/// The endings of the templates of which a message of a kind is made; of a webhook's none.
fn endings(kind: &str) -> &'static [&'static str] {
    match kind {
        "slack" => &["md", "txt"],
        "email" => &["html", "txt"],
        "sms" | IN_APP => &["txt"],
        _ => &["md", "txt", "html"],
    }
}

/// Why there is no text for what a rule sends.
fn no_text(sends: &Sends<'_>, template: &str, templates: &Templates) -> Option<String> {
    let (kind, endings) = (sends.kind, endings(sends.kind));
    let files: Vec<String> = endings.iter().map(|it| format!("{template}.{it}")).collect();
    let of_kind = files.join(" or ");
    if !templates.names().contains(&template) {
        let meant = did_you_mean(template, templates.names());
        return Some(format!(
            "there is no template `{template}` beside the rule files: for `{kind}` it is {of_kind}{meant}"
        ));
    }
    if !files.iter().any(|file| templates.has_file(file)) {
        let there = templates.files_of(template).join(" and ");
        return Some(format!(
            "`{kind}` is made of {of_kind}, and beside the rule files there is only {there}"
        ));
    }
    if let Some(file) = sends.template_file.filter(|file| !templates.has_file(file)) {
        let there = templates.files_of(template).join(" and ");
        return Some(format!("there is no template `{file}` beside the rule files, but {there}"));
    }
    (kind == "email" && !templates.has_subject(template)).then(|| {
        let first = templates.files_of(template).into_iter().next().unwrap_or_default();
        format!(
            "an e-mail has a subject: begin {first} with `+++`, a line `subject = \"…\"`, and `+++`"
        )
    })
}

/// Why a template of a rule mentions what its messages are never told of.
fn never_told(sends: &Sends<'_>, mention: &Mention, rules: &RuleSet) -> Option<String> {
    let Sends { rule, file, told, .. } = sends;
    let by = format!("the rule `{rule}` ({}:{})", file_name(file), sends.template_line);
    let (variable, known) = match (mention.variable.as_str(), &mention.member) {
        ("features", Some(_)) => ("features", &told.features),
        ("scores", Some(_)) => ("scores", &told.scores),
        ("event" | "trigger", _) => {
            let by_time = told.by_time == ByTime::Surely && !mention.is_asked_for;
            return by_time.then(|| format!("time alone sets off {by}{}", without_event(mention)));
        }
        _ => return None,
    };
    // What cannot be read may be where it looks at it: that is mended first.
    let name = mention.member.as_deref().filter(|_| !told.perhaps_more);
    let name = name.filter(|name| !known.contains(name))?;
    // One that there is not at all has been told of.
    let per = rules.per_of_name(variable, name)?;
    let of_rule = rules.per_of_rule(rule)?;
    let looks_at = match known.is_empty() {
        true => "none".to_owned(),
        false => {
            let known: Vec<_> = known.iter().map(|it| format!("`{variable}.{it}`")).collect();
            known.join(", ")
        }
    };
    let why = match per == of_rule {
        true => format!("look at it in the rule's `if`, or leave it out; it looks at {looks_at}"),
        false => format!(
            "it is of {}, and the rule is about {}; it looks at {looks_at}",
            per.one(),
            of_rule.one()
        ),
    };
    Some(format!(
        "`{variable}.{name}` has no value here: {by} does not look at it, and a message says what its rule looked at: {why}"
    ))
}

/// The same of an event that may not be there.
fn perhaps_without_event(sends: &Sends<'_>, mention: &Mention) -> Option<String> {
    let is_event = ["event", "trigger"].contains(&mention.variable.as_str());
    if !is_event || mention.is_asked_for || sends.told.by_time != ByTime::Perhaps {
        return None;
    }
    let rule = sends.rule;
    Some(format!("time alone may set off the rule `{rule}`{}", without_event(mention)))
}

fn without_event(mention: &Mention) -> String {
    format!(
        ", and then there is no `{0}`, and no message: say what needs one between `{{% if {0}.type %}}` and `{{% endif %}}`",
        mention.variable
    )
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod follows;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a folder of these files, without the folder's name; with a configuration if one is given.
    fn wrong(files: &[(&str, &str)], config: Option<&str>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let config = config.map(|text| Config::parse(text, Path::new("headwater.toml")).unwrap());
        let looked = look(folder.path(), config.as_ref());
        let before = format!("{}/", folder.path().display());
        let all = looked.wrong.into_all();
        all.iter().map(|error| error.to_string().replace(&before, "")).collect()
    }

    fn are(found: &[String], expected: &[(&str, &str)]) {
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, (start, part)) in found.iter().zip(expected) {
            assert!(found.starts_with(start) && found.contains(part), "{found}\n{start} … {part}");
        }
    }

    #[test]
    fn what_rules_name_and_is_not_there_is_told_with_its_line() {
        let rules = "[rules.a]\non = 'A'\nthen = [{ slack = 'sucess', template = 'left.md' }]\n\
                     [rules.b]\non = 'A'\n[[rules.b.then]]\nexpires = '1h'\nemail = 'success'\ntemplate = 'lefd.html'\n\
                     [scores.s]\nfallback = 1.0\non = 'A'\ninputs = { a = 'person.id' }\nmodel = 'modle'\n";
        let model = "secret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs='\nurl = 'https://m.example'\n";
        let config = format!(
            "[destinations.success]\nkind = 'slack'\nwebhook_url = 'https://hooks.example/x'\n\
             [destinations.model]\nkind = 'webhook'\n{model}"
        );
        let files = [("a.toml", rules), ("left.md", "{{ person.nmae }}\n\n{{ zebra }}")];
        let expected = [
            ("a.toml:3: the rule `a`: there is no destination `sucess`", "did you mean `success`?"),
            ("a.toml:8: the rule `b`: `email = \"success\"`", "is of the kind `slack`"),
            ("a.toml:9: the rule `b`: there is no template `lefd`", "did you mean `left`?"),
            ("a.toml:14: the rule `score:s`: there is no destination `modle`", "mean `model`?"),
            ("left.md:1: there is no `person.nmae`", "did you mean `person.name`?"),
            ("left.md:3: unknown variable `zebra`", "expected one of"),
        ];
        are(&wrong(&files, Some(&config)), &expected);
        // Without a configuration nothing is known of destinations.
        are(&wrong(&files, None), &[expected[2], expected[4], expected[5]]);
    }

    #[test]
    fn mistakes_of_rule_files_do_not_hide_those_of_templates() {
        let rules = "[features.n]\non = 'A'\ncuont = true\n[rules.a]\non = 'A'\nif = 'features.n > 1'\n\
                     then = [{ sms = 'x', template = 'a' }]\n";
        let found =
            wrong(&[("a.toml", rules), ("a.txt", "{{ features.n }} {{ features.m }}")], None);
        are(&found, &[("a.toml:3: ", "`cuont`"), ("a.txt:1: there is no `features.m`", "`n`")]);
    }

    #[test]
    fn a_template_is_one_that_its_kind_of_message_is_made_of() {
        let rules = |kind: &str, template: &str| {
            format!("[rules.a]\non = 'A'\nthen = [{{ {kind} = 'x', template = '{template}' }}]\n")
        };
        let text = "Hello";
        let mail = "+++\nsubject = 'Hello'\n+++\nHello";
        for (kind, template, file, text, part) in [
            (
                "sms",
                "a",
                "a.md",
                text,
                "`sms` is made of a.txt, and beside the rule files there is only a.md",
            ),
            ("in_app", "a.txt", "a.html", text, "`in_app` is made of a.txt"),
            ("slack", "a", "a.html", text, "`slack` is made of a.md or a.txt"),
            ("email", "a", "a.md", mail, "`email` is made of a.html or a.txt"),
            ("email", "a", "a.html", text, "an e-mail has a subject: begin a.html"),
            (
                "slack",
                "a.md",
                "a.txt",
                text,
                "there is no template `a.md` beside the rule files, but a.txt",
            ),
        ] {
            let found = wrong(&[("a.toml", &rules(kind, template)), (file, text)], None);
            are(&found, &[("a.toml:3: the rule `a`: ", part)]);
        }
        for (kind, template, file, text) in [
            ("sms", "a", "a.txt", text),
            ("slack", "a.md", "a.md", text),
            ("slack", "a", "a.txt", text),
            ("email", "a.html", "a.html", mail),
            ("email", "a", "a.txt", mail),
            ("webhook", "a", "a.md", text),
        ] {
            are(&wrong(&[("a.toml", &rules(kind, template)), (file, text)], None), &[]);
        }
    }

    #[test]
    fn a_template_is_told_what_its_rule_has_looked_at_and_no_more() {
        let rules = "[features.n]\non = 'A'\ncount = true\n\
                     [features.m]\non = 'A'\ncount = true\n\
                     [features.of_account]\non = 'A'\ncount = true\nper = 'account'\n\
                     [scores.risk]\nterms = { a = 'double(features.m)' }\n\
                     [rules.looks]\non = 'A'\nif = 'features.n > 1'\nthen = [{ slack = 'x', template = 'a' }]\n\
                     [rules.crosses]\ncrosses = { score = 'risk', above = 1 }\nthen = [{ slack = 'x', template = 'b' }]\n\
                     [rules.waits]\non = 'A'\nwithout = { event = 'B', within = '1h' }\nstill = 'features.n == 1'\nthen = [{ slack = 'x', template = 'd' }]\n";
        let found = wrong(
            &[
                ("a.toml", rules),
                (
                    "a.md",
                    "+++\ntitle = '{{ scores.risk }}'\n+++\n{{ features.n }}\n{{ features.m }}\n{{ features.of_account }}\n{% include 'c.md' %}",
                ),
                (
                    "b.md",
                    "{{ scores.risk }} {{ features.m }} {{ event.properties.x }}\n{{ features.n }}",
                ),
                ("c.md", "\n{{ features.m }}{{ account.name }}"),
                ("d.md", "{{ features.n }}"),
            ],
            None,
        );
        let looks = "the rule `looks` (a.toml:16) does not look at it";
        are(
            &found,
            &[
                ("a.md:2: `scores.risk` has no value here", looks),
                ("a.md:5: `features.m` has no value here", "it looks at `features.n`"),
                (
                    "a.md:6: `features.of_account`",
                    "it is of an account, and the rule is about a person",
                ),
                ("b.md:2: `features.n`", "it looks at `features.m`"),
                ("c.md:2: `features.m` has no value here", looks),
            ],
        );
    }

    #[test]
    fn what_time_alone_sets_off_has_no_event_to_tell_of() {
        let rules = "[features.n]\non = 'A'\ncount = true\nwindow = '7d'\n\
                     [features.ever]\non = 'A'\ncount = true\n\
                     [rules.fewer]\ncrosses = { feature = 'n', below = 2 }\nthen = [{ sms = 'x', template = 'a' }]\n\
                     [rules.more]\ncrosses = { feature = 'ever', above = 2 }\nthen = [{ sms = 'x', template = 'b' }]\n\
                     [rules.windowed]\ncrosses = { feature = 'n', above = 2 }\nthen = [{ sms = 'x', template = 'b' }]\n\
                     [rules.misses]\non = 'A'\nwithout = { event = 'B', within = '1d' }\nthen = [{ sms = 'x', template = 'b' }]\n";
        let bare = "\n{{ event.properties.x }}";
        let found = wrong(&[("a.toml", rules), ("a.txt", bare), ("b.txt", bare)], None);
        are(&found, &[("a.txt:2: time alone sets off the rule `fewer`", "{% if event.type %}")]);
        let score = "[scores.s]\nterms = { a = 'features.n > 3 ? 1.0 : 0.0' }\n\
                     [rules.scored]\ncrosses = { score = 's', above = 0.5 }\nthen = [{ sms = 'x', template = 'b' }]\n";
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.toml"), format!("{rules}{score}")).unwrap();
        std::fs::write(folder.path().join("a.txt"), "").unwrap();
        std::fs::write(folder.path().join("b.txt"), bare).unwrap();
        let doubtful = look(folder.path(), None).doubtful.to_string();
        assert!(
            doubtful.contains("b.txt:2: time alone may set off the rule `scored`"),
            "{doubtful}"
        );
        assert_eq!(doubtful.lines().count(), 1, "{doubtful}");
        let asked = "{% if event.type %}{{ event.properties.x }}{% endif %}";
        are(&wrong(&[("a.toml", rules), ("a.txt", asked), ("b.txt", bare)], None), &[]);
    }

    #[test]
    fn an_address_that_would_be_refused_when_it_is_sent_is_refused_here() {
        let rules = "[rules.a]\non = 'A'\nthen = [{ in_app = 'card', template = 'a' }]\n";
        let text = "+++\ntitle = 'Hello'\nurl = 'javascript:alert(1)'\n+++\nHello";
        let found = wrong(&[("a.toml", rules), ("a.txt", text)], None);
        are(&found, &[("a.txt:3: `url`: `url` is a path that begins with `/`", "https://")]);
    }
}
