//! The two lists of a mail request that servers of status-go read.

/// The last 0.x of status-go that is known to read lists of six alone.
const LAST_OF_SIX: u32 = 34;

/// Which list the RLP form is. A server of status-go reads one of them alone, and
/// takes the other for the binary form of a range that ends before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListForm {
    /// Of six: status-go to 0.34.
    Six,
    /// Of seven, with a list of topics after the bloom filter: status-go 0.40 and
    /// later, whose clients leave it empty and whose servers go by the filter.
    Seven,
}

impl ListForm {
    /// The one that a server of this name reads, as far as the name tells: that of
    /// status-go bears its version, as in `StatusIM/v0.34.0/linux-amd64/go1.13`.
    pub fn of_server(name: &str) -> Self {
        let version = name
            .strip_prefix("Status")
            .and_then(|rest| rest.split('/').find_map(|part| part.strip_prefix("v0.")))
            .and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        match version {
            Some(..=LAST_OF_SIX) => Self::Six,
            _ => Self::Seven,
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Six => Self::Seven,
            Self::Seven => Self::Six,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_of_status_go_say_so_in_their_name() {
        for (name, form) in [
            ("StatusIM/v0.34.0-beta.9/linux-amd64/go1.13", ListForm::Six),
            ("Statusd/v0.40.0/linux-amd64/go1.13", ListForm::Seven),
            ("Statusd/linux-amd64/go1.26.8", ListForm::Seven),
            ("gwa/v0.1.0", ListForm::Seven),
        ] {
            assert_eq!(ListForm::of_server(name), form, "{name}");
        }
    }
}
