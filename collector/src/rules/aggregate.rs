//! What a feature keeps of the events it is about: bounded, and kept for each identifier alone.
//! Promises that those of several identifiers read together are what one identifier's would have been, so that who is who can change
//! either way; and that the order of arrival does not matter while there are few. Deliberately knows no rule and no expression.

use std::collections::BTreeMap;

use cel::Value;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::expression::{plain::Plain, value};

/// Moments that are kept one by one. Of more, the two that lie closest together become one: a feature over a window is exact up to
/// so many events in it, and then to the distance between two of its moments.
const MOMENTS: usize = 64;
/// Different values that are kept. Of more, the one that was seen longest ago goes.
const VALUES: usize = 64;
/// Bytes of a value's JSON that are kept: what is longer is no value to compare.
const VALUE_BYTES: usize = 200;

/// How events are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Count,
    Sum,
    Min,
    Max,
    /// The value of the latest event.
    Last,
    /// The value of the earliest event.
    First,
    /// All different values.
    Distinct,
    /// The most frequent value.
    Top,
    /// How long somebody was there, in seconds: from one event to the next, where that comes within this many milliseconds. After a
    /// longer pause they are there anew.
    Dwell(i64),
}

/// What is kept of one feature for one identifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Aggregate {
    /// Over all time: how many, how much.
    Total { count: u64, sum: f64 },
    /// Over a window, or the least and most: time, how many, and their sum, by time.
    Moments(Vec<(i64, u64, f64)>),
    /// The least or most so far.
    Extreme(f64),
    /// One value, and when.
    One(i64, #[serde(with = "as_text")] Json),
    /// From when to when somebody was there, by time; a single event is a stay without length.
    Stays(Vec<(i64, i64)>),
    /// By their JSON: when last, and how often.
    Values(BTreeMap<String, (i64, u64)>),
}

/// What of it counts at a moment, in milliseconds of unix time: what happened after `from`, and no later than `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Span {
    fn has(self, time_ms: i64) -> bool {
        self.from < time_ms && time_ms <= self.to
    }

    /// How much of a stay lies in it.
    fn part_of(self, (from, to): (i64, i64)) -> i64 {
        (to.min(self.to) - from.max(self.from)).max(0)
    }
}

/// What an event brings to a feature.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) time_ms: i64,
    /// Of its expression; for a count nothing.
    pub(super) value: Json,
}

impl Default for Aggregate {
    /// What stands in while another is changed.
    fn default() -> Self {
        Self::Moments(Vec::new())
    }
}

impl Operation {
    /// Takes an event in. One without the value that is needed brings nothing; whether anything changed.
    pub(super) fn take(
        self,
        windowed: bool,
        kept: &mut Option<Aggregate>,
        sample: &Sample,
    ) -> bool {
        let time = sample.time_ms;
        let number = match self {
            Self::Count | Self::Dwell(_) => Some(1.0),
            _ => sample.value.as_f64().filter(|number| number.is_finite()),
        };
        match self {
            Self::Last | Self::First => {
                if is_long(&sample.value) {
                    return false;
                }
                let new = Aggregate::One(time, sample.value.clone());
                *kept = Some(match kept.take() {
                    Some(known) => self.joined(known, new),
                    None => new,
                });
                return true;
            }
            Self::Distinct | Self::Top => {
                if sample.value.is_null() || is_long(&sample.value) {
                    return false;
                }
                let new =
                    Aggregate::Values(BTreeMap::from([(sample.value.to_string(), (time, 1))]));
                *kept = Some(match kept.take() {
                    Some(known) => self.joined(known, new),
                    None => new,
                });
                return true;
            }
            _ => {}
        }
        // Without the sign of a zero, which nobody means.
        let Some(number) = number.map(|number| number + 0.0) else { return false };
        let new = match (self, windowed) {
            (Self::Dwell(_), _) => Aggregate::Stays(vec![(time, time)]),
            (Self::Min | Self::Max, false) => Aggregate::Extreme(number),
            (_, true) => Aggregate::Moments(vec![(time, 1, number)]),
            (_, false) => Aggregate::Total { count: 1, sum: number },
        };
        *kept = Some(match kept.take() {
            Some(known) => self.joined(known, new),
            None => new,
        });
        true
    }

    /// Two identifiers' as one person's.
    pub(super) fn joined(self, a: Aggregate, b: Aggregate) -> Aggregate {
        use Aggregate as A;
        match (a, b) {
            (A::Total { count: a, sum: x }, A::Total { count: b, sum: y }) => {
                A::Total { count: a + b, sum: x + y }
            }
            (A::Moments(mut a), A::Moments(b)) => {
                a.extend(b);
                a.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
                while a.len() > MOMENTS {
                    self.close_up(&mut a);
                }
                A::Moments(a)
            }
            (A::Stays(mut a), A::Stays(b)) => {
                let Self::Dwell(pause) = self else { return A::Stays(b) };
                a.extend(b);
                a.sort_unstable();
                let mut all: Vec<(i64, i64)> = Vec::with_capacity(a.len());
                for (from, to) in a {
                    match all.last_mut().filter(|last| from - last.1 <= pause) {
                        Some(last) => last.1 = last.1.max(to),
                        None => all.push((from, to)),
                    }
                }
                // The two that are over the longest become one, as long as both: the total stays right.
                while all.len() > MOMENTS {
                    let (from, to) = all.remove(0);
                    all[0].0 -= to - from;
                }
                A::Stays(all)
            }
            (A::Extreme(a), A::Extreme(b)) => {
                A::Extreme(if self == Self::Min { a.min(b) } else { a.max(b) })
            }
            (A::One(s, a), A::One(t, b)) => {
                // Of two at the same moment always the same one.
                let first = s.cmp(&t).then_with(|| a.to_string().cmp(&b.to_string())).is_lt();
                if first == (self == Self::First) { A::One(s, a) } else { A::One(t, b) }
            }
            (A::Values(mut a), A::Values(b)) => {
                for (value, (time, count)) in b {
                    let known = a.entry(value).or_insert((time, 0));
                    *known = (known.0.max(time), known.1 + count);
                }
                while a.len() > VALUES {
                    let oldest = a.iter().min_by_key(|(value, (time, _))| (*time, *value));
                    let Some(oldest) = oldest.map(|(value, _)| value.clone()) else { break };
                    a.remove(&oldest);
                }
                A::Values(a)
            }
            // Of another revision of the feature: what was kept is of no use.
            (_, new) => new,
        }
    }

    /// Makes one of the two moments that lie closest together.
    fn close_up(self, moments: &mut Vec<(i64, u64, f64)>) {
        let gaps = moments.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let Some((at, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else { return };
        let (time, count, value) = moments.remove(at + 1);
        let (_, known, sum) = moments[at];
        let value = match self {
            Self::Min => sum.min(value),
            Self::Max => sum.max(value),
            _ => sum + value,
        };
        moments[at] = (time, known + count, value);
    }

    /// What it comes to within a window, or, without one, ever; if that is plain.
    #[allow(clippy::cast_precision_loss, reason = "nobody counts beyond 2^52")]
    pub(super) fn plain(self, kept: Option<&Aggregate>, span: Option<Span>) -> Option<Plain<'_>> {
        use Aggregate as A;
        let counts = |time_ms: i64| span.is_none_or(|span| span.has(time_ms));
        let whole = |count: u64| Plain::Whole(i64::try_from(count).unwrap_or(i64::MAX));
        let Some(kept) = kept else {
            return Some(match (self, span) {
                (Self::Count, _) => whole(0),
                (Self::Sum | Self::Dwell(_), _) => Plain::Fraction(0.0),
                (Self::Distinct, _) => Plain::Many(0),
                _ => Plain::Null,
            });
        };
        Some(match kept {
            A::Total { count, .. } if self == Self::Count => whole(*count),
            A::Total { sum, .. } => Plain::Fraction(*sum),
            A::Moments(moments) => {
                let mut inside = moments.iter().filter(|(time, ..)| counts(*time));
                match self {
                    Self::Count => whole(inside.map(|(_, count, _)| count).sum()),
                    // Rust's sum of nothing is -0.0.
                    Self::Sum => Plain::Fraction(inside.fold(0.0, |all, (.., sum)| all + sum)),
                    _ => {
                        let Some((.., first)) = inside.next() else { return Some(Plain::Null) };
                        let best = match self {
                            Self::Min => inside.fold(*first, |best, (.., value)| best.min(*value)),
                            _ => inside.fold(*first, |best, (.., value)| best.max(*value)),
                        };
                        Plain::Fraction(best)
                    }
                }
            }
            A::Stays(stays) => {
                let part = |stay: &(i64, i64)| span.map_or(stay.1 - stay.0, |it| it.part_of(*stay));
                Plain::Fraction(stays.iter().map(part).sum::<i64>() as f64 / 1000.0)
            }
            A::Extreme(number) => Plain::Fraction(*number),
            A::One(_, json) => return Plain::of_json(json),
            A::Values(values) => match self {
                Self::Top => return None,
                _ => Plain::Many(values.values().filter(|(time, _)| counts(*time)).count()),
            },
        })
    }

    /// What it comes to within a window, or, without one, ever.
    pub(super) fn value(self, kept: Option<&Aggregate>, span: Option<Span>) -> Value {
        use Aggregate as A;
        if let Some(value) = self.plain(kept, span).and_then(Plain::into_value) {
            return value;
        }
        match kept {
            Some(A::One(_, json)) => value::of_json(json),
            Some(A::Values(values)) => {
                let counts = |time_ms: i64| span.is_none_or(|span| span.has(time_ms));
                let inside = values.iter().filter(|(_, (time, _))| counts(*time));
                let read = |text: &String| {
                    value::of_json(&serde_json::from_str(text).unwrap_or(Json::Null))
                };
                if self == Self::Top {
                    let most = inside.max_by_key(|(value, (_, count))| (*count, *value));
                    return most.map_or(Value::Null, |(value, _)| read(value));
                }
                Value::List(inside.map(|(value, _)| read(value)).collect::<Vec<_>>().into())
            }
            // An empty list.
            None => Value::List(Vec::new().into()),
            // All others are plain.
            Some(_) => Value::Null,
        }
    }
}

impl Aggregate {
    /// When the one value was.
    pub(super) fn moment(&self) -> Option<i64> {
        match self {
            Self::One(time, _) => Some(*time),
            _ => None,
        }
    }

    /// When what is kept of a window happened: it comes to something else only as one of these enters it or leaves.
    pub(super) fn times(&self) -> Vec<i64> {
        match self {
            Self::Moments(moments) => moments.iter().map(|(time, ..)| *time).collect(),
            Self::Values(values) => values.values().map(|(time, _)| *time).collect(),
            Self::Stays(stays) => stays.iter().flat_map(|(from, to)| [*from, *to]).collect(),
            Self::Total { .. } | Self::Extreme(_) | Self::One(..) => Vec::new(),
        }
    }
}

/// JSON as its text, where what is written does not say of which kind a value is.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use serde_json::Value as Json;

    pub(super) fn serialize<S: Serializer>(value: &Json, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

fn is_long(value: &Json) -> bool {
    match value {
        Json::String(text) => text.len() > VALUE_BYTES,
        Json::Array(_) | Json::Object(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ALL: [Operation; 9] = [
        Operation::Count,
        Operation::Sum,
        Operation::Min,
        Operation::Max,
        Operation::Last,
        Operation::First,
        Operation::Distinct,
        Operation::Top,
        Operation::Dwell(15),
    ];

    fn of(operation: Operation, windowed: bool, samples: &[(i64, i64)]) -> Option<Aggregate> {
        let mut kept = None;
        for (time_ms, value) in samples {
            let sample = Sample { time_ms: *time_ms, value: json!(value) };
            operation.take(windowed, &mut kept, &sample);
        }
        kept
    }

    fn told(operation: Operation, kept: Option<&Aggregate>, windowed: bool, from: i64) -> Json {
        within(operation, kept, windowed.then_some(Span { from, to: i64::MAX }))
    }

    fn within(operation: Operation, kept: Option<&Aggregate>, span: Option<Span>) -> Json {
        value::to_json(&operation.value(kept, span)).unwrap()
    }

    #[test]
    fn each_operation_says_what_its_name_says() {
        let samples = [(10, 5), (20, 7), (30, 5), (40, 1)];
        let all =
            |operation| told(operation, of(operation, false, &samples).as_ref(), false, i64::MIN);
        assert_eq!(
            ALL.map(all),
            [
                json!(4),
                json!(18.0),
                json!(1.0),
                json!(7.0),
                json!(1),
                json!(5),
                json!([1, 5, 7]),
                json!(5),
                json!(0.03)
            ]
        );
        // The window begins after 20.
        let late = |operation| told(operation, of(operation, true, &samples).as_ref(), true, 20);
        assert_eq!(late(Operation::Count), json!(2));
        assert_eq!(late(Operation::Sum), json!(6.0));
        assert_eq!(late(Operation::Max), json!(5.0));
        assert_eq!(late(Operation::Distinct), json!([1, 5]));
        let none = |operation| told(operation, None, true, 0);
        assert_eq!(none(Operation::Count), json!(0));
        assert_eq!(none(Operation::Max), Json::Null);
        assert_eq!(none(Operation::Last), Json::Null);
        assert_eq!(none(Operation::Distinct), json!([]));
    }

    #[test]
    fn a_window_that_is_over_counts_what_was_in_it_and_not_what_came_later() {
        let kept = |operation| of(operation, true, &[(10, 5), (20, 7), (30, 5), (40, 1)]);
        // After 10, and no later than 30.
        let span = Some(Span { from: 10, to: 30 });
        let told = |operation| within(operation, kept(operation).as_ref(), span);
        assert_eq!(told(Operation::Count), json!(2));
        assert_eq!(told(Operation::Sum), json!(12.0));
        assert_eq!(told(Operation::Min), json!(5.0));
        assert_eq!(told(Operation::Max), json!(7.0));
        assert_eq!(kept(Operation::Count).unwrap().times(), [10, 20, 30, 40]);
    }

    #[test]
    fn somebody_was_there_from_one_event_to_the_next_unless_the_pause_was_longer() {
        // Those of 40 and 70 are 30 apart; 55 comes late, and was there between them.
        let dwell = Operation::Dwell(15);
        let seconds =
            |samples: &[(i64, i64)], span| within(dwell, of(dwell, true, samples).as_ref(), span);
        let apart = [(10, 0), (25, 0), (40, 0), (70, 0), (80, 0)];
        assert_eq!(seconds(&apart, None), json!(0.04));
        assert_eq!(seconds(&[&apart[..], &[(55, 0)]].concat(), None), json!(0.07));
        // Of a stay that had begun before the window only what is in it counts.
        assert_eq!(seconds(&apart, Some(Span { from: 30, to: 75 })), json!(0.015));
        assert_eq!(seconds(&[(10, 0)], None), json!(0.0));
        assert_eq!(within(dwell, None, None), json!(0.0));
    }

    #[test]
    fn what_is_kept_stays_small_and_the_totals_stay_right() {
        let many: Vec<(i64, i64)> = (0..1000).map(|n| (n * n, n)).collect();
        for operation in ALL {
            let kept = of(operation, true, &many);
            let bytes = serde_json::to_string(&kept).unwrap().len();
            assert!(bytes < 3000, "{operation:?} takes {bytes}");
        }
        let count = told(Operation::Count, of(Operation::Count, true, &many).as_ref(), true, -1);
        assert_eq!(count, json!(1000));
        let distinct =
            told(Operation::Distinct, of(Operation::Distinct, false, &many).as_ref(), false, 0);
        assert_eq!(distinct.as_array().unwrap().len(), VALUES);
    }

    proptest! {
        /// Two identifiers' events, in any order, on one or on two: it is the same person.
        #[test]
        fn of_several_identifiers_is_what_one_would_have(
            samples in prop::collection::vec((0..1000_i64, -5..5_i64, any::<bool>()), 0..60),
            from in 0..1000_i64,
        ) {
            let pick = |which: bool| samples.iter().filter(move |it| it.2 == which).map(|it| (it.0, it.1));
            let all: Vec<_> = samples.iter().map(|it| (it.0, it.1)).collect();
            let backwards: Vec<_> = all.iter().rev().copied().collect();
            let (mine, others): (Vec<_>, Vec<_>) = (pick(true).collect(), pick(false).collect());
            for operation in ALL {
                for windowed in [true, false] {
                    let (a, b) = (of(operation, windowed, &mine), of(operation, windowed, &others));
                    let both = match (a, b) {
                        (Some(a), Some(b)) => Some(operation.joined(b, a)),
                        (a, b) => a.or(b),
                    };
                    let whole = told(operation, of(operation, windowed, &all).as_ref(), windowed, from);
                    prop_assert_eq!(&told(operation, both.as_ref(), windowed, from), &whole);
                    if let Some(Plain::Many(count)) = operation.plain(both.as_ref(), windowed.then_some(Span { from, to: i64::MAX })) {
                        prop_assert_eq!(whole.as_array().map(Vec::len), Some(count));
                    }
                    let shuffled = of(operation, windowed, &backwards);
                    prop_assert_eq!(&told(operation, shuffled.as_ref(), windowed, from), &whole);
                }
            }
        }
    }
}
