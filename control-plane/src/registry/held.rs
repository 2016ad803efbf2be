//! Parts of a reading that stay as they are in force, though nothing is wrong with their texts.

use std::{path::Path, time::SystemTime};

use usher_config::{kind::ObjectKey, parse::Parsed};

use crate::status::RejectedObject;

use super::{World, remarks::beside_what_is_kept, world::Reading};

impl World {
    /// Makes an object what it is in another world: there with its age, gone, or denied.
    pub fn keep(&mut self, before: &Self, key: &ObjectKey) {
        match before.objects.get(key) {
            Some(accepted) => self.objects.insert(key.clone(), accepted.clone()),
            None => self.objects.remove(key),
        };
        match before.denied.get(key) {
            Some(denied) => self.denied.insert(key.clone(), denied.clone()),
            None => self.denied.remove(key),
        };
    }

    /// Gives addresses out as if they had been given out last in that world.
    pub fn address_as(&mut self, before: &Self, now: SystemTime) {
        self.addresses.clone_from(&before.addresses);
        self.deleted.clone_from(&before.deleted);
        self.address(now);
    }
}

impl Reading {
    /// Makes it one of the world `next`, in which `rejected` stay as they are in the world `before`.
    pub fn hold(
        &mut self,
        before: &World,
        (next, rejected): (World, Vec<RejectedObject>),
        (parsed, base): (&Parsed, &Path),
    ) {
        self.remarks = beside_what_is_kept(parsed, &next, base).into();
        self.changed = before.difference(&next);
        self.rejected.extend(rejected);
        self.world = next;
    }
}
