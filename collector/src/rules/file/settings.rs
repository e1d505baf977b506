//! What is said once for all rules: caps, quiet hours, the default decision. Promises that each is said in one file.

use super::{
    super::rule::{IN_APP, Quiet},
    super::set::RuleSet,
    Reading, one_of,
    raw::{RawQuiet, RawSettings},
};

const KINDS: [&str; 5] = ["slack", "webhook", "email", "sms", IN_APP];

impl RuleSet {
    pub(super) fn settings(&mut self, read: RawSettings, reading: &Reading<'_>) {
        for (kind, cap) in read.caps {
            let at = kind.span().start;
            if !KINDS.contains(&kind.get_ref().as_str()) {
                let message = one_of("kind of action", kind.get_ref(), KINDS.into_iter());
                reading.refuse(at, message);
            } else if self.caps.insert(kind.into_inner(), cap).is_some() {
                reading.refuse(at, "this cap is in another file already".to_owned());
            }
        }
        if let Some(quiet) = read.quiet_hours {
            let at = quiet.span().start;
            let quiet = self.quiet_hours(quiet.into_inner());
            reading.keep(quiet.map_err(|message| (at, message)));
        }
        if let Some(decision) = read.default_decision {
            let at = decision.span().start;
            if self.default_decision.replace(decision.into_inner()).is_some() {
                let message = "`default_decision` is in another file already";
                reading.refuse(at, message.to_owned());
            }
        }
    }

    fn quiet_hours(&mut self, RawQuiet { from, to, kinds }: RawQuiet) -> Result<(), String> {
        let time = |text: &str| -> Option<i16> {
            let (hour, minute) = text.split_once(':')?;
            let (hour, minute): (i16, i16) = (hour.parse().ok()?, minute.parse().ok()?);
            ((0..24).contains(&hour) && (0..60).contains(&minute)).then_some(hour * 60 + minute)
        };
        let (Some(from), Some(to)) = (time(&from), time(&to)) else {
            return Err("`from` and `to` are times as `21:00`".to_owned());
        };
        if from == to {
            let message = "`from` and `to` are the same: that is never, or always; for always use caps with `times = 0`";
            return Err(message.to_owned());
        }
        if let Some(kind) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(one_of("kind of action", kind, KINDS.into_iter()));
        }
        if self.quiet.replace(Quiet { from, to, kinds }).is_some() {
            return Err("`quiet_hours` are in another file already".to_owned());
        }
        Ok(())
    }
}
