//! What an error of a server of objects means for a depot.

use std::error::Error;

use object_store::Error as StoreError;

use crate::depot::DepotError;

/// Longest text of a server that is told on, characters.
const MAX_TOLD: usize = 200;

/// Codes by which servers say that there is no room, in any spelling of S3.
const FULL: [&str; 9] = [
    "QuotaExceeded",
    "StorageQuotaExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "InsufficientCapacity",
    "InsufficientStorage",
    "StorageFull",
    "NoSpaceLeft",
    "TotalStorageExceeded",
];

/// What a server said: its status, the code and the message of its XML.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
}

/// What became of a request that failed: the library tells the statuses of HTTP in
/// its texts alone.
fn said(error: &(dyn Error + 'static)) -> Said {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    let first = |find: &dyn Fn(&str) -> Option<String>| texts.iter().find_map(|text| find(text));
    Said {
        status: first(&|text| {
            let (_, rest) = text.split_once("status code: ")?;
            Some(rest.get(..3)?.to_owned())
        })
        .and_then(|status| status.parse().ok()),
        code: first(&|text| element(text, "Code")),
        message: first(&|text| element(text, "Message")),
    }
}

fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inside, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    Some(inside.chars().take(MAX_TOLD).map(plain).collect())
}

/// The innermost cause, cut short.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string().chars().take(MAX_TOLD).collect()
}

/// Whether an object is not there, in a bucket that is.
pub(super) fn is_absent(error: &StoreError) -> bool {
    let StoreError::NotFound { .. } = error else {
        return false;
    };
    // Other programs answer 404 too, and say nothing or something else. Without a
    // body there is no telling; the bucket is there by all that was seen before.
    matches!(
        said(error).code.as_deref(),
        None | Some("NoSuchKey" | "NotFound" | "NoSuchUpload")
    )
}

/// Whether a condition of a writing did not hold.
pub(super) fn is_conflict(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }
    )
}

/// What a failure means; `what` says what was done, as in `writing HEAD`.
pub(super) fn mapped(depot: &str, what: &str, error: &StoreError) -> DepotError {
    let depot = depot.to_owned();
    let said = said(error);
    let text = match (&said.status, &said.code, &said.message) {
        (_, Some(code), Some(message)) => format!("{what}: {code}: {message}"),
        (_, Some(code), None) => format!("{what}: {code}"),
        (Some(status), ..) => format!("{what}: the server answered {status}"),
        _ => format!("{what}: {}", innermost(error)),
    };
    let code = said.code.as_deref().unwrap_or_default();
    if FULL.contains(&code) || said.status == Some(507) {
        return DepotError::Full { depot, what: text };
    }
    let refuses = match error {
        StoreError::PermissionDenied { .. }
        | StoreError::Unauthenticated { .. }
        | StoreError::NotFound { .. }
        | StoreError::NotSupported { .. }
        | StoreError::NotImplemented { .. }
        | StoreError::InvalidPath { .. } => true,
        // Too slow for it, or too often: both pass.
        _ => said.status.is_some_and(|status| {
            (300..500).contains(&status) && ![408, 409, 429].contains(&status)
        }),
    };
    match refuses {
        true => DepotError::Refused { depot, what: text },
        false => DepotError::Away { depot, what: text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(String);

    fn status(status: &str, code: &str) -> Box<dyn Error + Send + Sync> {
        let xml = format!("<Error><Code>{code}</Code><Message>it says\nso</Message></Error>");
        let text = format!("Server returned non-2xx status code: {status}: {xml}");
        Box::new(Told(text))
    }

    fn generic(text: &str, code: &str) -> StoreError {
        StoreError::Generic {
            store: "S3",
            source: status(text, code),
        }
    }

    fn denied(code: &str) -> StoreError {
        StoreError::PermissionDenied {
            path: "x".into(),
            source: status("403 Forbidden", code),
        }
    }

    fn not_found(code: &str) -> StoreError {
        StoreError::NotFound {
            path: "x".into(),
            source: status("404 Not Found", code),
        }
    }

    #[test]
    fn each_answer_means_what_a_user_can_do_about_it() {
        let kind = |error: &StoreError| match mapped("s3:x", "reading", error) {
            DepotError::Away { .. } => "away",
            DepotError::Full { .. } => "full",
            DepotError::Refused { .. } => "refused",
            _ => "other",
        };
        for (error, means) in [
            (denied("SignatureDoesNotMatch"), "refused"),
            (denied("QuotaExceeded"), "full"),
            (not_found("NoSuchBucket"), "refused"),
            (generic("507 Insufficient Storage", "X"), "full"),
            (
                generic("500 Internal Server Error", "InternalError"),
                "away",
            ),
            (generic("503 Service Unavailable", "SlowDown"), "away"),
            (generic("429 Too Many Requests", "TooMany"), "away"),
            (generic("400 Bad Request", "InvalidRequest"), "refused"),
            (generic("500 Server Error", "XMinioStorageFull"), "full"),
        ] {
            assert_eq!(kind(&error), means, "{error}");
        }
    }

    #[test]
    fn an_object_that_is_absent_is_told_from_a_bucket_that_is() {
        assert!(is_absent(&not_found("NoSuchKey")));
        assert!(!is_absent(&not_found("NoSuchBucket")));
        assert!(!is_absent(&not_found("XAdminUserNotFound")));
        assert!(!is_absent(&denied("AccessDenied")));
    }

    #[test]
    fn what_a_server_says_is_told_in_one_short_line() {
        let error = mapped("s3:x", "reading HEAD", &denied("AccessDenied"));
        assert_eq!(
            error.to_string(),
            "s3:x refuses: reading HEAD: AccessDenied: it says so"
        );
        let long = generic("400 Bad Request", &"x".repeat(10_000));
        assert!(mapped("s3:x", "reading", &long).to_string().len() < 1_000);
    }
}
