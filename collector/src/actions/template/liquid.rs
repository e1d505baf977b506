//! What people write who come from another language of templates.

use super::*;

#[test]
fn a_filter_that_takes_something_after_a_colon_is_told_how_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = |text: &str| {
        std::fs::write(folder.path().join("a.md"), text).unwrap();
        let (_, wrong) = Templates::read_as_far(folder.path(), &Known::default());
        wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let found = wrong("Hello\n{{ person.name | default: \"x\" }}");
    assert!(found.contains("a.md:2: "), "{found}");
    assert!(
        found.contains("what a filter takes stands in parentheses: `default(\"…\")`"),
        "{found}"
    );
    assert!(!wrong("{{ person.name default \"x\" }}").contains("parentheses"));
    assert_eq!(wrong("{{ person.name | default(\"a: x\") }}"), "");
}
