//! Names: spelling, case, and the word that was probably meant.

/// `InsideHosts` as `inside_hosts`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut previous_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && previous_lower {
            out.push('_');
        }
        previous_lower = c.is_lowercase() || c.is_ascii_digit();
        out.extend(c.to_lowercase());
    }
    out
}

/// Whether `name` is `snake_case`: what a counter may be called in every target.
pub(crate) fn is_snake_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The candidate nearest to `word`, if one is near enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or the list of what there is.
pub(crate) fn suggest<'a>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(word, candidates.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => {
            let list: Vec<String> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
            if list.is_empty() {
                format!("there is no {what}")
            } else {
                format!("{what}: {}", list.join(", "))
            }
        }
    }
}

/// Edits (insert, delete, replace, exchange of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let above = &rows[i - 1];
            let mut best = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            best = best.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        assert_eq!(snake_case("Inside"), "inside");
        assert_eq!(snake_case("InsideHosts"), "inside_hosts");
        assert_eq!(snake_case("Ipv4Hosts"), "ipv4_hosts");
        assert!(
            is_snake_case("not_ipv4")
                && !is_snake_case("Not")
                && !is_snake_case("4")
                && !is_snake_case("a b")
        );
    }

    #[test]
    fn what_was_meant() {
        assert_eq!(nearest("scr", ["src", "dst"]), Some("src"));
        assert_eq!(nearest("ipv5", ["ipv4", "ipv6", "udp"]), Some("ipv4"));
        assert_eq!(nearest("banana", ["src", "dst"]), None);
    }
}
