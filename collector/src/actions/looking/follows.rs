//! Of two mistakes of which one comes of the other, only the first is told.

use super::*;

fn wrong(score: &str, condition: &str) -> Vec<String> {
    let rules = format!(
        "[features.n]\non = 'A'\ncount = true\n[scores.s]\nterms = {{ a = '{score}' }}\n\
         [rules.r]\ncrosses = {{ score = 's', above = 1 }}\nif = '{condition}'\nthen = [{{ slack = 'x', template = 'a' }}]\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), rules).unwrap();
    std::fs::write(folder.path().join("a.md"), "{{ features.n }}").unwrap();
    let found = look(folder.path(), None).wrong.into_all();
    found.into_iter().map(|it| it.message).collect()
}

#[test]
fn what_a_term_that_cannot_be_read_looks_at_is_not_missed() {
    let found = wrong("features.n * 0.5", "true");
    assert!(found.len() == 1 && found[0].contains("do not mix in CEL"), "{found:?}");
    let found = wrong("1.0", "features.n > \"a\"");
    assert!(found.len() == 1 && found[0].contains("cannot be compared"), "{found:?}");
    let found = wrong("1.0", "true");
    assert!(found.len() == 1 && found[0].contains("`features.n` has no value here"), "{found:?}");
    assert_eq!(wrong("double(features.n)", "true"), Vec::<String>::new());
}
