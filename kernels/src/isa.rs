//! Which instruction set the kernels use: found out once, forcible through the environment.
//!
//! An [`Isa`] exists only where the machine has all features it stands for. It is therefore the proof that the one
//! dispatch call of each kernel needs, and is handed down from whoever starts a step (the workspace in
//! `htm-core`). Results never depend on it.

use std::fmt;
use std::sync::OnceLock;

/// Names the environment variable that forces an instruction set.
pub const ISA_VARIABLE: &str = "HTMENGINE_ISA";

/// The instruction sets that some kernel has code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsaKind {
    /// Portable code: the reference that all others equal.
    Scalar,
    /// x86-64-v3: AVX2 with BMI1, BMI2, LZCNT and POPCNT (Haswell, Zen).
    Avx2,
    /// AVX-512 F, BW, CD, DQ, VL, VBMI, VBMI2 and VPOPCNTDQ besides (Ice Lake, Zen 4).
    Avx512,
}

impl IsaKind {
    /// All, from the plainest on.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The name that [`ISA_VARIABLE`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(IsaKind);

impl Isa {
    /// Portable code, which every machine has.
    pub const SCALAR: Self = Self(IsaKind::Scalar);

    /// `kind`, if this machine has it.
    pub fn new(kind: IsaKind) -> Option<Self> {
        is_available(kind).then_some(Self(kind))
    }

    /// Those that this machine has, from the plainest on.
    pub fn available() -> impl Iterator<Item = Self> {
        IsaKind::ALL.into_iter().filter_map(Self::new)
    }

    /// The widest that this machine has.
    pub fn best() -> Self {
        Self::available().last().unwrap_or(Self::SCALAR)
    }

    /// What [`ISA_VARIABLE`] asks for; the best if it is unset or empty.
    ///
    /// # Errors
    /// If it holds anything but a name, or the name of a set that this machine lacks.
    pub fn from_env() -> Result<Self, IsaError> {
        match std::env::var_os(ISA_VARIABLE) {
            Some(value) if !value.is_empty() => Self::from_name(&value.to_string_lossy()),
            _ => Ok(Self::best()),
        }
    }

    /// The set of this name.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn from_name(name: &str) -> Result<Self, IsaError> {
        let kind = IsaKind::ALL.into_iter().find(|kind| kind.name() == name);
        let error = || IsaError { found: name.to_owned(), is_known: kind.is_some() };
        kind.and_then(Self::new).ok_or_else(error)
    }

    /// [`Self::from_env`], asked once.
    ///
    /// # Panics
    /// If the environment asks for a set that does not exist; programs check [`Self::from_env`] first.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Isa> = OnceLock::new();
        *CHOSEN.get_or_init(|| Self::from_env().unwrap_or_else(|error| panic!("{error}")))
    }

    /// Which set it is.
    pub fn kind(self) -> IsaKind {
        self.0
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.name())
    }
}

/// The environment asks for an instruction set that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsaError {
    found: String,
    is_known: bool,
}

impl fmt::Display for IsaError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem =
            if self.is_known { "which this machine does not have" } else { "which is no instruction set" };
        let names: Vec<&str> = Isa::available().map(|isa| isa.0.name()).collect();
        let names = names.join(", ");
        write!(
            formatter,
            "{ISA_VARIABLE} is {:?}, {problem}; set it to one of {names}, or unset it",
            self.found
        )
    }
}

impl std::error::Error for IsaError {}

#[cfg(target_arch = "x86_64")]
fn is_available(kind: IsaKind) -> bool {
    match kind {
        IsaKind::Scalar => true,
        IsaKind::Avx2 => {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt")
        }
        IsaKind::Avx512 => {
            is_available(IsaKind::Avx2)
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vbmi2")
                && is_x86_feature_detected!("avx512vpopcntdq")
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn is_available(kind: IsaKind) -> bool {
    kind == IsaKind::Scalar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_portable_code_and_knows_its_best() {
        assert_eq!(Isa::available().next(), Some(Isa::SCALAR));
        assert_eq!(Isa::available().max(), Some(Isa::best()));
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_can_be_used() {
        assert_eq!(Isa::from_name("scalar"), Ok(Isa::SCALAR));
        let error = Isa::from_name("sse9").expect_err("no such set").to_string();
        assert!(error.contains("\"sse9\"") && error.contains("scalar") && error.contains("unset"), "{error}");
    }
}
