//! `ConfigMap`.

use crate::{
    kind::{CaCertificates, ConfigMapSpec},
    parse::fields::Fields,
    parse::place::Place,
};

/// The key that makes a ConfigMap one of ours.
pub(super) const CA_CRT: &str = "ca.crt";

pub(super) fn config_map(fields: &mut Fields<'_>) -> Option<ConfigMapSpec> {
    // What else there may be is for others.
    fields.at("binaryData");
    fields.at("immutable");
    let ca_crt = fields.required("data", |place| {
        let (_, ca) = ca_crt(&place)?;
        ca.parse()
    });
    Some(ConfigMapSpec {
        data: CaCertificates { ca_crt: ca_crt? },
    })
}

fn ca_crt<'a>(data: &Place<'a>) -> Option<(&'a str, Place<'a>)> {
    let mut entries = data.text_map()?.into_iter();
    entries.find(|(key, _)| *key == CA_CRT)
}

/// Whether a document has what a BackendTLSPolicy could refer to.
pub(super) fn has_certificates(document: &Place<'_>) -> bool {
    let data = document.fields().and_then(|mut fields| fields.at("data"));
    data.is_some_and(|data| ca_crt(&data).is_some())
}
