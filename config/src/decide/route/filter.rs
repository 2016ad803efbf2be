//! Filters: what a rule, and then the backend it chose, do to a request and its answer beside sending it on. Pure.
//!
//! A story asks three things, in this order: [`Chain::answer`] (is it answered at once?), [`Chain::edit_request`],
//! [`Chain::edit_response`]. All are one look at a `None` for the requests that have no filters, which is most.

mod cors;
mod headers;
mod path;
mod redirect;

use std::sync::Arc;

use crate::model::{Filters, Mirror, Rewrite};
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header, request};

use super::path::PathError;

/// The filters of one request. Made with its rule's; [`Chain::for_backend`] adds those of the backend that was chosen.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    rule: Option<Arc<Filters>>,
    backend: Option<Arc<Filters>>,
    /// Of the page that asks, where some filter wants to know.
    origin: Option<HeaderValue>,
}

/// What answers at once look at.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// As sent.
    pub method: &'a Method,
    /// As sent.
    pub headers: &'a HeaderMap,
    /// With authority, and normalised.
    pub uri: &'a Uri,
    /// Whether the caller speaks TLS to us.
    pub https: bool,
    /// Where it came in, for redirects that name no port; `None`: as in the authority.
    pub port: Option<u16>,
}

impl Chain {
    /// Those of a rule.
    pub fn of_rule(filters: Option<&Arc<Filters>>, headers: &HeaderMap) -> Self {
        let mut chain = Self {
            rule: filters.cloned(),
            ..Self::default()
        };
        chain.learn(filters, headers);
        chain
    }

    /// Adds those of the rule's backend.
    pub fn for_backend(&mut self, filters: Option<&Arc<Filters>>, headers: &HeaderMap) {
        self.backend = filters.cloned();
        self.learn(filters, headers);
    }

    fn learn(&mut self, filters: Option<&Arc<Filters>>, headers: &HeaderMap) {
        if filters.is_some_and(|filters| filters.cors.is_some()) {
            self.origin = headers.get(header::ORIGIN).cloned();
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rule.is_none() && self.backend.is_none()
    }

    fn filters(&self) -> impl DoubleEndedIterator<Item = &Filters> {
        let both = [self.rule.as_deref(), self.backend.as_deref()];
        both.into_iter().flatten()
    }

    /// The answer to a preflight or by a redirect; with the changes that the filters make to responses.
    pub fn answer(&self, asked: &Asked<'_>) -> Option<Response<()>> {
        let edited = |mut response: Response<()>| {
            for filters in self.filters() {
                headers::edit(response.headers_mut(), &filters.response);
            }
            response
        };
        self.filters().find_map(|filters| {
            let preflight = || cors::preflight(filters.cors.as_ref()?, asked).map(edited);
            let redirect = || {
                let mut response = edited(redirect::answer(filters.redirect.as_ref()?, asked)?);
                self.permit(response.headers_mut());
                Some(response)
            };
            preflight().or_else(redirect)
        })
    }

    /// Changes the request. What comes back is the request as it was before the backend's own filters, if those changed
    /// it: for whoever stands in for the backend.
    ///
    /// # Errors
    /// The path together with its replacement is no valid target; never if both are normal and short.
    pub fn edit_request(
        &self,
        head: &mut request::Parts,
    ) -> Result<Option<Box<request::Parts>>, PathError> {
        if let Some(rule) = &self.rule {
            edit(head, rule)?;
        }
        let Some(backend) = &self.backend else {
            return Ok(None);
        };
        let before = Box::new(head.clone());
        edit(head, backend)?;
        Ok(Some(before))
    }

    /// Who gets a copy of this request.
    pub fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.filters().flat_map(|filters| &filters.mirrors)
    }

    /// Says in an answer of our own what the page that asked may do with it: without that it could not even see that
    /// it is an error. The other changes are for answers of the backend.
    pub fn permit(&self, headers: &mut HeaderMap) {
        let cors = self
            .filters()
            .rev()
            .find_map(|filters| filters.cors.as_ref());
        if let Some(cors) = cors {
            cors::permit(cors, self.origin.as_ref(), headers);
        }
    }

    /// Changes the response. A stand-in's is not the backend's: the backend's own filters are not for it.
    pub fn edit_response(&self, headers: &mut HeaderMap, by: Answerer) {
        let backend = match by {
            Answerer::Backend => self.backend.as_deref(),
            Answerer::StandIn => None,
        };
        let both = [self.rule.as_deref(), backend];
        for filters in both.iter().flatten() {
            headers::edit(headers, &filters.response);
        }
        let cors = both.iter().rev().flatten();
        if let Some(cors) = cors.filter_map(|filters| filters.cors.as_ref()).next() {
            cors::permit(cors, self.origin.as_ref(), headers);
        }
    }
}

/// Whose a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// The chosen backend's.
    Backend,
    /// The fallback's.
    StandIn,
}

fn edit(head: &mut request::Parts, filters: &Filters) -> Result<(), PathError> {
    headers::edit(&mut head.headers, &filters.request);
    match &filters.rewrite {
        Some(rewrite) => rewrite_uri(&mut head.uri, rewrite),
        None => Ok(()),
    }
}

fn rewrite_uri(uri: &mut Uri, rewrite: &Rewrite) -> Result<(), PathError> {
    let mut parts = uri.clone().into_parts();
    if let Some(host) = &rewrite.hostname {
        let authority = host.as_str().parse();
        parts.authority = Some(authority.map_err(|_| PathError::Malformed)?);
    }
    if let Some(edit) = &rewrite.path {
        parts.path_and_query = Some(path::edited(edit, uri)?);
    }
    *uri = Uri::from_parts(parts).map_err(|_| PathError::Malformed)?;
    Ok(())
}

#[cfg(test)]
mod tests;
