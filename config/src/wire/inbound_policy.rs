//! `InboundPolicy`: what an instance enforces.

use http::Method;

use crate::{
    model::{
        AccessLogMode, AccessPolicy, AccessRule, ClaimRule, HealthCheck, HealthProbe,
        InboundPolicy, MtlsMode, OutboundTraffic, PathRule, Telemetry, Timeouts,
    },
    value::{EmptySegments, Name, PathParameters, PathReading, SpiffeId},
};

use super::{
    DecodeError,
    authentication::{decode_authentication, decode_header_name, header_names},
    rate_limit::decode_limits,
    scalar::{
        Decoded, list, optional_millis, percent, port, ports, positive_millis, protocol, required,
        service_name, text, to_millis, to_optional_millis, to_protocol,
    },
    v1,
};

impl From<&InboundPolicy> for v1::InboundPolicy {
    fn from(policy: &InboundPolicy) -> Self {
        let port = |(port, protocol): &(crate::value::Port, _)| v1::InboundPort {
            port: port.get().into(),
            protocol: to_protocol(*protocol),
        };
        Self {
            namespace: policy.service.namespace.to_string(),
            service: policy.service.name.to_string(),
            permissive: policy.mtls == MtlsMode::Permissive,
            ports: policy.ports.iter().map(port).collect(),
            access: policy.access.iter().map(Into::into).collect(),
            rate_limits: policy.rate_limits.iter().map(Into::into).collect(),
            authentication: policy.authentication.as_ref().map(Into::into),
            claim_headers: header_names(&policy.claim_headers),
            gateways: policy.gateways.iter().map(ToString::to_string).collect(),
            health_check: policy.health_check.as_ref().map(Into::into),
            telemetry: Some((&policy.telemetry).into()),
            idle_ms: Some(to_optional_millis(policy.idle)),
            registry_only: policy.outbound == OutboundTraffic::RegistryOnly,
            pass_unknown: policy.outbound == OutboundTraffic::PassThroughUnknown,
            zone: policy.zone.clone(),
            keep_empty_segments: policy.path_reading.empty_segments == EmptySegments::Keep,
            keep_path_parameters: policy.path_reading.parameters == PathParameters::Keep,
        }
    }
}

impl TryFrom<v1::InboundPolicy> for InboundPolicy {
    type Error = DecodeError;
    fn try_from(message: v1::InboundPolicy) -> Decoded<Self> {
        decode_inbound(message).map_err(|e| e.within("InboundPolicy"))
    }
}

fn decode_inbound(message: v1::InboundPolicy) -> Decoded<InboundPolicy> {
    let health_check = message.health_check.map(decode_health_check).transpose();
    let telemetry = required("telemetry", message.telemetry)?;
    let authentication = message.authentication.map(decode_authentication);
    let authentication = authentication.transpose();
    Ok(InboundPolicy {
        zone: message.zone,
        service: service_name(&message.namespace, &message.service)?,
        mtls: if message.permissive {
            MtlsMode::Permissive
        } else {
            MtlsMode::Strict
        },
        ports: list("ports", message.ports, |inbound| {
            Ok((
                port("port", inbound.port)?,
                protocol("protocol", inbound.protocol)?,
            ))
        })?,
        access: list("access", message.access, decode_access)?,
        authentication: authentication.map_err(|e| e.under("authentication"))?,
        claim_headers: list("claim_headers", message.claim_headers, decode_header_name)?,
        gateways: list("gateways", message.gateways, |id| text::<SpiffeId>("", &id))?,
        rate_limits: list("rate_limits", message.rate_limits, decode_limits)?,
        health_check: health_check.map_err(|e| e.under("health_check"))?,
        telemetry: decode_telemetry(&telemetry).map_err(|e| e.under("telemetry"))?,
        // A control plane that says nothing about it is older than the field, and means the default.
        idle: match message.idle_ms {
            Some(idle) => optional_millis("idle_ms", idle)?,
            None => Timeouts::default().idle,
        },
        outbound: match (message.registry_only, message.pass_unknown) {
            (true, _) => OutboundTraffic::RegistryOnly,
            (false, true) => OutboundTraffic::PassThroughUnknown,
            (false, false) => OutboundTraffic::PassThrough,
        },
        path_reading: decode_path_reading(
            message.keep_empty_segments,
            message.keep_path_parameters,
        ),
    })
}

pub(super) fn decode_path_reading(empty_segments: bool, parameters: bool) -> PathReading {
    PathReading {
        empty_segments: if empty_segments {
            EmptySegments::Keep
        } else {
            EmptySegments::Merge
        },
        parameters: if parameters {
            PathParameters::Keep
        } else {
            PathParameters::Refuse
        },
    }
}

impl From<&AccessPolicy> for v1::AccessPolicy {
    fn from(policy: &AccessPolicy) -> Self {
        Self {
            name: policy.name.to_string(),
            deny_by_default: policy.deny_by_default,
            dry_run: policy.dry_run,
            rules: policy.rules.iter().map(Into::into).collect(),
            invalid: policy.invalid,
        }
    }
}

fn decode_access(message: v1::AccessPolicy) -> Decoded<AccessPolicy> {
    Ok(AccessPolicy {
        name: message.name.into(),
        deny_by_default: message.deny_by_default,
        dry_run: message.dry_run,
        rules: list("rules", message.rules, decode_rule)?,
        invalid: message.invalid,
    })
}

impl From<&AccessRule> for v1::AccessRule {
    fn from(rule: &AccessRule) -> Self {
        Self {
            principals: rule.principals.iter().map(ToString::to_string).collect(),
            namespaces: rule.namespaces.iter().map(ToString::to_string).collect(),
            service_accounts: rule
                .service_accounts
                .iter()
                .map(|(n, a)| format!("{n}/{a}"))
                .collect(),
            methods: rule.methods.iter().map(ToString::to_string).collect(),
            paths: rule.paths.iter().map(encode_path_rule).collect(),
            ports: rule.ports.iter().map(|port| port.get().into()).collect(),
            claims: rule.claims.iter().map(encode_claim).collect(),
        }
    }
}

fn encode_claim(rule: &ClaimRule) -> v1::ClaimRule {
    v1::ClaimRule {
        claim: rule.claim.to_string(),
        values: rule.values.clone(),
    }
}

fn decode_rule(message: v1::AccessRule) -> Decoded<AccessRule> {
    Ok(AccessRule {
        principals: list("principals", message.principals, |id| {
            text::<SpiffeId>("", &id)
        })?,
        namespaces: list("namespaces", message.namespaces, |name| {
            text::<Name>("", &name)
        })?,
        service_accounts: list("service_accounts", message.service_accounts, |account| {
            let (namespace, name) = account
                .split_once('/')
                .ok_or_else(|| DecodeError::at("", &account, "`namespace/service-account`"))?;
            Ok((text("namespace", namespace)?, text("name", name)?))
        })?,
        methods: list("methods", message.methods, |method| {
            Method::from_bytes(method.as_bytes())
                .map_err(|_| DecodeError::at("", &method, "an HTTP method (RFC 9110 token)"))
        })?,
        paths: list("paths", message.paths, decode_path_rule)?,
        ports: ports("ports", &message.ports)?,
        claims: list("claims", message.claims, |rule| {
            Ok(ClaimRule {
                claim: rule.claim.into(),
                values: rule.values,
            })
        })?,
    })
}

pub(super) fn encode_path_rule(path: &PathRule) -> String {
    match path {
        PathRule::Exact(path) => path.clone(),
        PathRule::Prefix(path) => format!("{path}*"),
    }
}

/// A `*` anywhere but as the last segment would be taken literally, or cover `/administrator` with `/admin*`;
/// nobody means either: refused.
pub(super) fn decode_path_rule(path: String) -> Decoded<PathRule> {
    let rule = match path.strip_suffix('*') {
        Some(prefix) => PathRule::Prefix(prefix.to_owned()),
        None => PathRule::Exact(path.clone()),
    };
    let (PathRule::Exact(body) | PathRule::Prefix(body)) = &rule;
    let whole_segments = matches!(rule, PathRule::Exact(_)) || body.ends_with('/');
    if body.starts_with('/') && !body.contains('*') && whole_segments {
        Ok(rule)
    } else {
        Err(DecodeError::at(
            "",
            path,
            "a path that begins with '/'; '*' only as its last segment",
        ))
    }
}

impl From<&HealthCheck> for v1::HealthCheck {
    fn from(check: &HealthCheck) -> Self {
        let kind = match &check.probe {
            HealthProbe::Http { path } => {
                v1::health_check::Kind::Http(v1::HttpHealthCheck { path: path.clone() })
            }
            HealthProbe::Grpc { service } => v1::health_check::Kind::Grpc(service.clone()),
            HealthProbe::Tcp => v1::health_check::Kind::Tcp(true),
        };
        Self {
            kind: Some(kind),
            interval_ms: to_millis(check.interval),
            timeout_ms: to_millis(check.timeout),
            failure_threshold: check.failure_threshold,
            success_threshold: check.success_threshold,
        }
    }
}

fn decode_health_check(message: v1::HealthCheck) -> Decoded<HealthCheck> {
    let threshold = |field: &str, number: u32| {
        if number == 0 {
            Err(DecodeError::at(field, number, "at least 1"))
        } else {
            Ok(number)
        }
    };
    Ok(HealthCheck {
        probe: match required("kind", message.kind)? {
            v1::health_check::Kind::Http(http) if http.path.starts_with('/') => {
                HealthProbe::Http { path: http.path }
            }
            v1::health_check::Kind::Http(http) => {
                return Err(DecodeError::at(
                    "http.path",
                    http.path,
                    "a path that begins with '/'",
                ));
            }
            v1::health_check::Kind::Grpc(service) => HealthProbe::Grpc { service },
            v1::health_check::Kind::Tcp(_) => HealthProbe::Tcp,
        },
        interval: positive_millis("interval_ms", message.interval_ms)?,
        timeout: positive_millis("timeout_ms", message.timeout_ms)?,
        failure_threshold: threshold("failure_threshold", message.failure_threshold)?,
        success_threshold: threshold("success_threshold", message.success_threshold)?,
    })
}

impl From<&Telemetry> for v1::Telemetry {
    fn from(telemetry: &Telemetry) -> Self {
        let access_log = match telemetry.access_log {
            AccessLogMode::All => v1::telemetry::AccessLog::All,
            AccessLogMode::Errors => v1::telemetry::AccessLog::Errors,
            AccessLogMode::Off => v1::telemetry::AccessLog::Off,
        };
        Self {
            access_log: access_log as i32,
            access_log_sample_percent: telemetry.access_log_sample.get().into(),
            trace_sample_percent: telemetry.trace_sample.get().into(),
        }
    }
}

fn decode_telemetry(message: &v1::Telemetry) -> Decoded<Telemetry> {
    let access_log = match v1::telemetry::AccessLog::try_from(message.access_log) {
        Ok(v1::telemetry::AccessLog::All) => AccessLogMode::All,
        Ok(v1::telemetry::AccessLog::Errors) => AccessLogMode::Errors,
        Ok(v1::telemetry::AccessLog::Off) => AccessLogMode::Off,
        Err(_) => {
            return Err(DecodeError::at(
                "access_log",
                message.access_log,
                "0, 1 or 2",
            ));
        }
    };
    Ok(Telemetry {
        access_log,
        access_log_sample: percent(
            "access_log_sample_percent",
            message.access_log_sample_percent,
        )?,
        trace_sample: percent("trace_sample_percent", message.trace_sample_percent)?,
    })
}
