//! The routes of a gateway's listener: of those whose host name covers a request, the most precise name's first.

use super::{Hosts, Request, Table};
use crate::model::Route;

/// See the module.
#[derive(Debug, Default)]
pub struct ByHost(Hosts<(Table, Vec<usize>)>);

impl ByHost {
    /// Of routes with at most one host name each, in their order of precedence under it.
    pub fn new<'r>(routes: impl Iterator<Item = &'r Route>) -> Self {
        let mut lists: Hosts<(Vec<Route>, Vec<usize>)> = Hosts::default();
        for (position, route) in routes.enumerate() {
            let (routes, positions) = lists.entry(route.hostnames.first(), Default::default);
            routes.push(route.clone());
            positions.push(position);
        }
        Self(lists.map(|(routes, positions)| (Table::new(routes), positions)))
    }

    /// The first that takes the request, and its position in what [`ByHost::new`] was given.
    pub fn select(&self, request: &Request<'_>) -> Option<(usize, &Route)> {
        self.0
            .matching(request.host)
            .find_map(|(table, positions)| {
                let (place, route) = table.select(request)?;
                Some((*positions.get(place)?, route))
            })
    }
}

#[cfg(test)]
mod tests;
