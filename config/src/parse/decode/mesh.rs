//! `Mesh`.

use crate::{
    kind::{AccessLog, MeshSpec, Mtls, Telemetry, Tracing},
    parse::place::Place,
};

pub(super) fn mesh(place: &Place<'_>) -> Option<MeshSpec> {
    let mut fields = place.fields()?;
    let spec = MeshSpec {
        trust_domain: fields.optional("trustDomain", |place| place.parse()),
        virtual_cidr: fields.optional("virtualCidr", |place| place.parse()),
        mtls: fields.group("mtls", |place| mtls(&place)),
        allow_loosening: fields.optional("allowLoosening", |place| place.boolean()),
        outbound_traffic: fields.optional("outboundTraffic", |place| place.choice()),
        empty_segments: fields.optional("emptySegments", |place| place.choice()),
        path_parameters: fields.optional("pathParameters", |place| place.choice()),
        telemetry: fields.group("telemetry", telemetry),
    };
    fields.finish();
    Some(spec)
}

pub(super) fn mtls(place: &Place<'_>) -> Option<Mtls> {
    let mut fields = place.fields()?;
    let mtls = Mtls {
        mode: fields.optional("mode", |place| place.choice()),
    };
    fields.finish();
    Some(mtls)
}

fn telemetry(place: Place<'_>) -> Option<Telemetry> {
    let mut fields = place.fields()?;
    let access_log = fields.group("accessLog", |place| {
        let mut fields = place.fields()?;
        let log = AccessLog {
            mode: fields.optional("mode", |place| place.choice()),
            sample_percent: fields.optional("samplePercent", |place| place.number()),
        };
        fields.finish();
        Some(log)
    });
    let tracing = fields.group("tracing", |place| {
        let mut fields = place.fields()?;
        let tracing = Tracing {
            sample_percent: fields.optional("samplePercent", |place| place.number()),
        };
        fields.finish();
        Some(tracing)
    });
    fields.finish();
    Some(Telemetry {
        access_log,
        tracing,
    })
}
