//! The bars of a score that stands on a page more than once.

use serde_json::json;

use super::*;

fn measured(score: &str, brings: &[f64]) -> MeasuredView {
    let terms = brings.iter().map(|it| json!({"term": "t", "brings": it, "text": "…"}));
    MeasuredView::of(&json!({"score": score, "value": 1, "terms": terms.collect::<Vec<_>>()}))
}

fn drawn(view: &MeasuredView) -> Vec<(u32, u32)> {
    view.terms.iter().map(|term| (term.from, term.share)).collect()
}

#[test]
fn one_score_has_one_scale_wherever_it_stands_and_another_has_its_own() {
    let mut page =
        [measured("a", &[0.5, -0.5]), measured("a", &[1.0, 0.5]), measured("b", &[10.0])];
    assert_eq!(drawn(&page[0]), [(500, 500), (0, 500)], "alone");
    in_one_scale(page.iter_mut());
    // From -0.5 to 1.5: what is 0.5 is a quarter of the width, in both.
    assert_eq!(drawn(&page[0]), [(250, 250), (0, 250)]);
    assert_eq!(drawn(&page[1]), [(250, 500), (250, 250)]);
    assert_eq!(page[..2].iter().map(|it| it.below).collect::<Vec<_>>(), [Some(250); 2]);
    let ends = |view: &MeasuredView| view.ends.clone().unwrap();
    assert_eq!(ends(&page[0]), ("−0.5".to_owned(), "1.5".to_owned()));
    assert_eq!(ends(&page[0]), ends(&page[1]));
    assert_eq!((drawn(&page[2]), ends(&page[2]).1), (vec![(0, 1000)], "10".to_owned()));
    assert_eq!(measured("a", &[0.0]).ends, None, "where nothing is drawn nothing is said of it");
}
