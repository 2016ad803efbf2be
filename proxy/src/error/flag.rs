//! What stands in logs, metrics and `x-usher-reason` for what happened to a request.

/// Two or three letters for what happened to a request: Envoy's where Envoy has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Flag {
    /// No healthy upstream: wait for instances, look at their health checks.
    Uh,
    /// Upstream connection failure: the endpoint's sidecar is down, unreachable, or not who it should be; or it let nothing
    /// through to its application.
    Uf,
    /// Upstream overflow: a limit of the traffic policy is reached.
    Uo,
    /// No route: the authority or port leads nowhere.
    Nr,
    /// No such service in the mesh, or its configuration did not arrive.
    Nc,
    /// Retries exhausted: every allowed attempt failed.
    Urx,
    /// Upstream connection terminated during the response.
    Uc,
    /// Upstream reset the stream before its response.
    Ur,
    /// Reset by this proxy for a reason of its own.
    Lr,
    /// Upstream timeout.
    Ut,
    /// Downstream went away.
    Dc,
    /// The stream's maximal duration was reached.
    Dt,
    /// The stream was idle for too long.
    Si,
    /// Downstream protocol error: the request may not be forwarded.
    Dpe,
    /// Upstream protocol error.
    Upe,
    /// Breaker open.
    Bo,
    /// A fallback answered.
    Fb,
    /// The deadline had passed on arrival.
    De,
    /// Denied by access control.
    Az,
    /// A retry was due, but the retry budget is used up.
    Rb,
    /// A reused connection was closed under the request.
    Cr,
    /// Delayed on purpose.
    Di,
    /// Aborted on purpose.
    Fi,
    /// Beyond a rate limit.
    Rl,
    /// Without a token that is believed.
    Jw,
}

impl Flag {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 25] = [
        Self::Uh,
        Self::Uf,
        Self::Uo,
        Self::Nr,
        Self::Nc,
        Self::Urx,
        Self::Uc,
        Self::Ur,
        Self::Lr,
        Self::Ut,
        Self::Dc,
        Self::Dt,
        Self::Si,
        Self::Dpe,
        Self::Upe,
        Self::Bo,
        Self::Fb,
        Self::De,
        Self::Az,
        Self::Rb,
        Self::Cr,
        Self::Di,
        Self::Fi,
        Self::Rl,
        Self::Jw,
    ];

    /// The letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uh => "UH",
            Self::Uf => "UF",
            Self::Uo => "UO",
            Self::Nr => "NR",
            Self::Nc => "NC",
            Self::Urx => "URX",
            Self::Uc => "UC",
            Self::Ur => "UR",
            Self::Lr => "LR",
            Self::Ut => "UT",
            Self::Dc => "DC",
            Self::Dt => "DT",
            Self::Si => "SI",
            Self::Dpe => "DPE",
            Self::Upe => "UPE",
            Self::Bo => "BO",
            Self::Fb => "FB",
            Self::De => "DE",
            Self::Az => "AZ",
            Self::Rb => "RB",
            Self::Cr => "CR",
            Self::Di => "DI",
            Self::Fi => "FI",
            Self::Rl => "RL",
            Self::Jw => "JW",
        }
    }
}

/// The set of flags of one request; the first one set is the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    bits: u32,
    first: Option<Flag>,
}

impl Flags {
    /// Adds a flag.
    pub fn set(&mut self, flag: Flag) {
        self.first.get_or_insert(flag);
        self.bits |= 1 << flag as u32;
    }

    /// The flag that came first: what the others followed from.
    pub fn first(self) -> Option<Flag> {
        self.first
    }

    /// Whether it is set.
    pub fn has(self, flag: Flag) -> bool {
        self.bits & (1 << flag as u32) != 0
    }

    /// Those set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.has(*flag))
    }
}
