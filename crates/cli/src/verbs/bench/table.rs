//! A table for people: columns as narrow as their cells, those without a cell left out.

use std::io::{self, Write};

/// One column.
pub struct Column<R> {
    /// What stands above it.
    pub head: &'static str,
    /// A row's cell; empty where the row has none.
    pub cell: fn(&R) -> String,
}

/// Writes `rows`. The first column is flush left, numbers are flush right.
pub fn write<R>(out: &mut impl Write, columns: &[Column<R>], rows: &[R]) -> io::Result<()> {
    let mut texts: Vec<Vec<String>> = columns
        .iter()
        .map(|column| {
            let cells = rows.iter().map(column.cell);
            std::iter::once(column.head.to_owned()).chain(cells).collect()
        })
        .collect();
    texts.retain(|cells| cells[1..].iter().any(|cell| !cell.is_empty()));
    let width = |cells: &Vec<String>| cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = texts.iter().map(width).collect();
    for line in 0..=rows.len() {
        let mut text = String::new();
        for (i, (cells, &width)) in texts.iter().zip(&widths).enumerate() {
            let cell = &cells[line];
            match i {
                0 => text.push_str(&format!("{cell:width$}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// A measured number in so many characters that its first three or four figures show.
pub fn figure(x: f64) -> String {
    match x.abs() {
        x if x >= 1000.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x if x >= 0.1 => format!("{x:.2}"),
        x if x >= 0.001 || x == 0.0 => format!("{x:.4}"),
        _ => format!("{x:.1e}"),
    }
}

/// The same, or nothing.
pub fn maybe(x: Option<f64>) -> String {
    x.map(figure).unwrap_or_default()
}

/// A share in per cent, or nothing.
pub fn percent(share: Option<f64>) -> String {
    share.map(|share| format!("{:.0}%", share * 100.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_empty_ones_go() {
        let columns: [Column<(&str, f64)>; 3] = [
            Column { head: "name", cell: |r| r.0.to_owned() },
            Column { head: "nothing", cell: |_| String::new() },
            Column { head: "x", cell: |r| figure(r.1) },
        ];
        let mut out = Vec::new();
        write(&mut out, &columns, &[("a", 1.0), ("longer", 1234.4)]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "name       x\na       1.00\nlonger  1234\n");
    }

    #[test]
    fn figures_keep_what_is_worth_reading() {
        let texts = [
            (1234.4, "1234"),
            (512.34, "512.3"),
            (9.994, "9.99"),
            (0.123, "0.12"),
            (0.01234, "0.0123"),
            (4.5e-6, "4.5e-6"),
        ];
        for (x, text) in texts {
            assert_eq!(figure(x), text);
        }
        assert_eq!((percent(Some(0.756)), percent(None)), ("76%".to_owned(), String::new()));
    }
}
