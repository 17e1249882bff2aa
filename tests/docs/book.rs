//! Links between pages, and the order of the book.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::ROOT;
use super::markdown::Page;

/// The book's table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Links to files, pages or headings that are not there, and addresses that are none.
pub fn broken_links(pages: &[Page]) -> Vec<String> {
    let anchors: BTreeMap<&Path, Vec<String>> = pages
        .iter()
        .map(|page| (page.path.as_path(), page.anchors()))
        .collect();
    let mut wrong = Vec::new();
    for page in pages {
        for (at, link) in page.links() {
            if let Some(what) = broken(page, &link, &anchors) {
                wrong.push(format!("{}:{at}: {link}: {what}", page.path.display()));
            }
        }
    }
    wrong
}

fn broken(page: &Page, link: &str, anchors: &BTreeMap<&Path, Vec<String>>) -> Option<String> {
    if link.contains("://") {
        return match url::Url::parse(link) {
            Ok(url) if url.scheme() == "https" && url.host_str().is_some() => None,
            Ok(_) => Some("an address is https://HOST/..".to_owned()),
            Err(error) => Some(error.to_string()),
        };
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.path.clone(),
        _ => plain(&page.path.parent().expect("a folder").join(file)),
    };
    if !Path::new(ROOT).join(&target).exists() {
        return Some("no such file".to_owned());
    }
    // The book holds `docs/` alone: what lies beside it cannot be linked to there.
    if page.path.starts_with("docs") && !target.starts_with("docs") {
        return Some("leads out of the book".to_owned());
    }
    let in_book = page.path.starts_with("docs") && page.path != Path::new(SUMMARY);
    if in_book && target.ends_with("README.md") {
        return Some("the book calls it index.html: link to a page in it".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    match anchors.get(target.as_path()) {
        Some(names) if names.iter().any(|name| name == anchor) => None,
        _ => Some("no such heading".to_owned()),
    }
}

/// The same path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// Pages that the table of contents does not name, or more than once.
pub fn missing_or_doubled(pages: &[Page]) -> Vec<String> {
    let summary = pages
        .iter()
        .find(|page| page.path == Path::new(SUMMARY))
        .expect("a table of contents");
    let mut named: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for (_, link) in summary.links() {
        *named.entry(Path::new("docs").join(link)).or_default() += 1;
    }
    pages
        .iter()
        .filter(|page| page.path.starts_with("docs") && page.path != Path::new(SUMMARY))
        .filter_map(|page| match named.get(&page.path) {
            Some(1) => None,
            Some(_) => Some(format!("{SUMMARY} names {} twice", page.path.display())),
            None => Some(format!("{SUMMARY} lacks {}", page.path.display())),
        })
        .collect()
}

#[test]
fn dots_in_a_path_are_taken_out() {
    assert_eq!(
        plain(Path::new("docs/spec/../a.md")),
        Path::new("docs/a.md")
    );
    assert_eq!(plain(Path::new("docs/./a.md")), Path::new("docs/a.md"));
}
