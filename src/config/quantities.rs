//! Settings that are numbers with a range.

use std::time::Duration;

/// Declares a struct of quantities, each once: its doc, type, default and range. Beside the struct stand `KEYS`, which
/// begins with the keys that the section has besides them, and `read_each`.
macro_rules! quantities {
    (
        $(#[doc = $about:literal])+
        $settings:ident besides [$($other:expr),*];
        $($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, from $min:expr, to $max:expr;)+
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $settings {
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for $settings {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        pub(super) const KEYS: &[$crate::config::section::Key] =
            &[$($other,)* $($crate::config::section::Key::scalar(stringify!($name)),)+];

        fn read_each(
            section: &$crate::config::section::Section,
            report: &mut $crate::config::mistake::Report,
        ) -> $settings {
            use $crate::config::values::Quantity;
            let defaults = $settings::default();
            $settings {
                $($name: section
                    .parsed(stringify!($name), report, |text| <$type>::parse(text, $min, $max))
                    .unwrap_or(defaults.$name),)+
            }
        }
    };
}
pub(super) use quantities;

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) const fn mib(n: u64) -> u64 {
    n << 20
}
