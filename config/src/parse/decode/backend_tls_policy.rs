//! `BackendTLSPolicy`.

use crate::{
    kind::{
        BackendTlsPolicySpec, BackendTlsValidation, CaCertificateRef, SubjectAltName,
        SubjectAltNameType, TargetKind, WellKnownCa,
    },
    parse::fields::{Fields, Once},
    parse::place::Place,
    value::{Hostname, Name},
};

use super::reference;

pub(super) const TARGETS: [TargetKind; 1] = [TargetKind::Service];

pub(super) fn policy(place: &Place<'_>, namespace: Option<&Name>) -> Option<BackendTlsPolicySpec> {
    let mut fields = place.fields()?;
    let target_refs = reference::targets(&mut fields, &TARGETS, namespace);
    let validation = fields.required("validation", validation);
    fields.unsupported("options");
    fields.finish();
    Some(BackendTlsPolicySpec {
        target_refs,
        validation: validation?,
    })
}

fn validation(place: Place<'_>) -> Option<BackendTlsValidation> {
    let mut fields = place.fields()?;
    let mut once = Once::default();
    let refs = fields.list("caCertificateRefs", 0..=8, |place| {
        let one = certificates(&place)?;
        once.check(&place, one.name.as_str());
        Some(one)
    });
    let system = fields.optional("wellKnownCACertificates", |place| {
        place.choice::<WellKnownCa>()
    });
    let written = |fields: &mut Fields<'_>, name| fields.at(name).is_some_and(|at| at.len() > 0);
    let some = written(&mut fields, "caCertificateRefs");
    match fields.at("wellKnownCACertificates") {
        Some(system) if some => {
            system.wrong::<()>(
                "both `caCertificateRefs` and `wellKnownCACertificates`",
                "one of them",
            );
        }
        None if !some => {
            place.wrong::<()>(
                "no certificates to verify against",
                "`caCertificateRefs`, or `wellKnownCACertificates: System`",
            );
        }
        _ => {}
    }
    let hostname = fields.required("hostname", |place| precise(&place));
    let mut once = Once::default();
    let names = fields.list("subjectAltNames", 0..=5, |place| {
        let name = alternative(&place)?;
        once.check(&place, format!("{name:?}"));
        Some(name)
    });
    fields.finish();
    Some(BackendTlsValidation {
        ca_certificate_refs: refs,
        well_known_ca_certificates: system,
        hostname: hostname?,
        subject_alt_names: names,
    })
}

fn certificates(place: &Place<'_>) -> Option<CaCertificateRef> {
    let mut fields = place.fields()?;
    let group = fields.required("group", |place| place.choice());
    let kind = fields.required("kind", |place| match place.text()? {
        "Secret" => place.wrong(
            "`Secret`",
            "ConfigMap: CA certificates are no secret, and keys have no place here",
        ),
        _ => place.choice(),
    });
    let name = fields.required("name", |place| place.parse());
    fields.finish();
    Some(CaCertificateRef {
        group: group?,
        kind: kind?,
        name: name?,
    })
}

fn precise(place: &Place<'_>) -> Option<Hostname> {
    let name: Hostname = place.parse()?;
    if name.as_str().starts_with('*') {
        return place.wrong(
            format!("`{name}`"),
            "a name without a wildcard; one in the certificate counts",
        );
    }
    Some(name)
}

fn alternative(place: &Place<'_>) -> Option<SubjectAltName> {
    let mut fields = place.fields()?;
    let kind = fields.required("type", |place| place.choice::<SubjectAltNameType>());
    let hostname = fields.optional("hostname", |place| precise(&place));
    let uri = fields.optional("uri", |place| {
        place.read(|text| is_uri(text).then(|| text.to_owned()), URI)
    });
    if let Some(kind) = kind {
        let (needed, other) = match kind {
            SubjectAltNameType::Hostname => ("hostname", "uri"),
            SubjectAltNameType::Uri => ("uri", "hostname"),
        };
        if let Some(place) = fields.at(other) {
            place.wrong::<()>(
                format!("`{other}`, beside `type: {kind}`"),
                format!("`{needed}` alone"),
            );
        }
        if fields.at(needed).is_none() {
            place.wrong::<()>(
                format!("no `{needed}`"),
                format!("`{needed}`, which `type: {kind}` needs"),
            );
        }
    }
    fields.finish();
    Some(SubjectAltName {
        kind: kind?,
        hostname,
        uri,
    })
}

const URI: &str = "an absolute URI as it stands in the certificate (`spiffe://corp.example/billing`), at most 253 characters";

fn is_uri(text: &str) -> bool {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme =
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(letter);
    printable && is_scheme && !rest.is_empty() && text.len() <= 253
}
