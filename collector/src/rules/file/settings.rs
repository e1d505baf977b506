//! What is said once for all rules: caps, quiet hours, the default decision. Promises that each is said in one file.

use super::{
    super::set::{IN_APP, Quiet, RuleSet},
    Mistake, one_of,
    raw::{RawFile, RawQuiet},
};

impl RuleSet {
    /// What is said once for all rules.
    pub(super) fn settings(&mut self, read: &mut RawFile) -> Result<(), Mistake> {
        const KINDS: [&str; 5] = ["slack", "webhook", "email", "sms", IN_APP];
        for (kind, cap) in std::mem::take(&mut read.caps) {
            let at = kind.span().start;
            if !KINDS.contains(&kind.get_ref().as_str()) {
                return Err((at, one_of("kind of action", kind.get_ref(), KINDS.into_iter())));
            }
            if self.caps.insert(kind.into_inner(), cap).is_some() {
                return Err((at, "this cap is in another file already".to_owned()));
            }
        }
        if let Some(quiet) = read.quiet_hours.take() {
            let at = quiet.span().start;
            let RawQuiet { from, to, kinds } = quiet.into_inner();
            let time = |text: &str| -> Option<i16> {
                let (hour, minute) = text.split_once(':')?;
                let (hour, minute): (i16, i16) = (hour.parse().ok()?, minute.parse().ok()?);
                ((0..24).contains(&hour) && (0..60).contains(&minute)).then_some(hour * 60 + minute)
            };
            let (Some(from), Some(to)) = (time(&from), time(&to)) else {
                return Err((at, "`from` and `to` are times as `21:00`".to_owned()));
            };
            if from == to {
                let message = "`from` and `to` are the same: that is never, or always; for always use caps with `times = 0`";
                return Err((at, message.to_owned()));
            }
            if let Some(kind) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
                return Err((at, one_of("kind of action", kind, KINDS.into_iter())));
            }
            if self.quiet.replace(Quiet { from, to, kinds }).is_some() {
                return Err((at, "`quiet_hours` are in another file already".to_owned()));
            }
        }
        if let Some(decision) = read.default_decision.take() {
            let at = decision.span().start;
            if self.default_decision.replace(decision.into_inner()).is_some() {
                return Err((at, "`default_decision` is in another file already".to_owned()));
            }
        }
        Ok(())
    }
}
