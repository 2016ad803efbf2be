//! Words from a closed list: the list is written once and serves reading, writing, schema and suggestions.

/// A value that is written as one word of a closed list.
pub trait Choice: Copy + Eq + 'static {
    /// Every word and what it means, in the order in which people should read them.
    const ALL: &'static [(&'static str, Self)];

    /// The word this value is written as: the first one, where several mean the same.
    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, value)| *value == self)
            .map_or("", |(word, _)| word)
    }
}

/// Declares an enum whose values are written as the words given.
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal $(| $alias:literal)*,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word $(, alias = $alias)*)] $variant,)*
        }

        impl $crate::kind::Choice for $name {
            const ALL: &'static [(&'static str, Self)] =
                &[$(($word, Self::$variant), $(($alias, Self::$variant),)*)*];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::kind::Choice::word(*self))
            }
        }
    };
}

pub(crate) use choice;
