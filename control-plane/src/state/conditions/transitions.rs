//! Since when each condition is what it is: the one thing about conditions that must be remembered. Pure: `now` is given.
//!
//! In memory only: a control plane that has just started knows when an object was accepted, and of everything else only
//! that it is so now.

use std::{collections::BTreeMap, time::SystemTime};

use usher_config::kind::ObjectKey;

use crate::{
    clock,
    status::{ConditionReport, ConditionStatus},
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Transitions(BTreeMap<ObjectKey, Vec<Since>>);

#[derive(Debug)]
struct Since {
    of: String,
    status: ConditionStatus,
    at: SystemTime,
}

impl Transitions {
    /// Writes into all conditions of all objects since when they are so, and forgets the objects that are gone.
    /// `accepted_at`: of one that is seen for the first time.
    pub(crate) fn stamp<'o>(
        &mut self,
        objects: impl Iterator<Item = (&'o ObjectKey, Option<SystemTime>, &'o mut [ConditionReport])>,
        now: SystemTime,
    ) {
        let mut before = std::mem::take(&mut self.0);
        for (key, accepted_at, conditions) in objects {
            let known = before.remove(key).unwrap_or_default();
            let mut since = Vec::with_capacity(conditions.len());
            for condition in conditions {
                let same = known.iter().find(|one| one.of == condition.r#type);
                let at = match same {
                    Some(same) if same.status == condition.status => same.at,
                    Some(_) => now,
                    None if condition.r#type == "Accepted"
                        && condition.status == ConditionStatus::True =>
                    {
                        accepted_at.unwrap_or(now)
                    }
                    None => now,
                };
                condition.last_transition_time = clock::text(at);
                since.push(Since {
                    of: condition.r#type.clone(),
                    status: condition.status,
                    at,
                });
            }
            self.0.insert(key.clone(), since);
        }
    }
}
