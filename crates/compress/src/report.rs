//! What a file lost and what it saves, by kind of tensor.

use crate::inputs::RoundedInputs;
use crate::role::kind_of;

/// The measure of an encoded tensor: sums over its values.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    /// Sum of squares of what decodes less what was given.
    pub error: f64,
    /// Sum of squares of what was given.
    pub energy: f64,
    /// Values that are NaN or infinite; the sums leave them out.
    pub n_not_finite: u64,
}

impl Loss {
    /// Adds another part.
    pub fn add(&mut self, other: Self) {
        self.error += other.error;
        self.energy += other.energy;
        self.n_not_finite += other.n_not_finite;
    }

    /// Root of the mean square error, relative to that of the values; 0 where all values are 0.
    pub fn relative_rmse(&self) -> f64 {
        if self.energy > 0.0 { (self.error / self.energy).sqrt() } else { 0.0 }
    }
}

/// The tensors of one kind: `attn_q` of all layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Their name without layer and `.weight`.
    pub kind: String,
    /// Names of the formats they got, each once, and how many got it.
    pub formats: Vec<(&'static str, usize)>,
    /// Number of tensors.
    pub n_tensors: usize,
    /// Bytes they had.
    pub bytes_before: u64,
    /// Bytes they have.
    pub bytes_after: u64,
    /// The error of those that were encoded; `None` when all were copied.
    pub loss: Option<Loss>,
}

/// A tensor of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct OfTensor {
    /// Its name.
    pub name: String,
    /// Name of the format it got.
    pub format: &'static str,
    /// Bytes it has.
    pub bytes: u64,
    /// Its error; `None` when it was copied.
    pub loss: Option<Loss>,
    /// What rounding its inputs costs, where that was measured.
    pub inputs: Option<RoundedInputs>,
}

/// The outcome of a whole file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// By kind of tensor, in the order of the file.
    pub groups: Vec<Group>,
    /// In the order of the file.
    pub tensors: Vec<OfTensor>,
    /// Values of all tensors.
    pub n_values: u64,
    /// Bytes of the tensors before.
    pub bytes_before: u64,
    /// Bytes of the tensors after.
    pub bytes_after: u64,
    /// Bytes of the new file.
    pub n_file_bytes: u64,
    /// Tensors that were encoded without importances although some were given.
    pub without_importance: Vec<String>,
}

impl Report {
    /// Adds a tensor; `loss` is `None` when it was copied.
    pub fn add(
        &mut self,
        name: &str,
        format: &'static str,
        n_values: u64,
        bytes: (u64, u64),
        loss: Option<Loss>,
    ) {
        let kind = kind_of(name);
        let i = self.groups.iter().position(|g| g.kind == kind).unwrap_or_else(|| {
            self.groups.push(Group {
                kind: kind.to_owned(),
                formats: Vec::new(),
                n_tensors: 0,
                bytes_before: 0,
                bytes_after: 0,
                loss: None,
            });
            self.groups.len() - 1
        });
        let group = &mut self.groups[i];
        match group.formats.iter_mut().find(|(f, _)| *f == format) {
            Some((_, n)) => *n += 1,
            None => group.formats.push((format, 1)),
        }
        group.n_tensors += 1;
        group.bytes_before += bytes.0;
        group.bytes_after += bytes.1;
        if let Some(loss) = loss {
            group.loss.get_or_insert_default().add(loss);
        }
        self.tensors.push(OfTensor { name: name.to_owned(), format, bytes: bytes.1, loss, inputs: None });
        self.n_values += n_values;
        self.bytes_before += bytes.0;
        self.bytes_after += bytes.1;
    }

    /// Says what rounding costs the inputs of the tensor that was added last.
    pub fn set_inputs(&mut self, inputs: Option<RoundedInputs>) {
        if let Some(last) = self.tensors.last_mut() {
            last.inputs = inputs;
        }
    }

    /// What rounding costs the inputs of all matrices where that was measured, and how many those are.
    pub fn inputs(&self) -> Option<(RoundedInputs, usize)> {
        let (mut all, mut n) = (RoundedInputs::default(), 0);
        for inputs in self.tensors.iter().filter_map(|tensor| tensor.inputs) {
            all.add(inputs);
            n += 1;
        }
        (n > 0).then_some((all, n))
    }

    /// Bits per weight of `bytes`, those of the tensors before or after.
    pub fn bits_per_weight(&self, bytes: u64) -> f64 {
        if self.n_values == 0 { 0.0 } else { bytes as f64 * 8.0 / self.n_values as f64 }
    }

    /// The error of all that was encoded.
    pub fn loss(&self) -> Loss {
        let mut all = Loss::default();
        self.groups.iter().filter_map(|g| g.loss).for_each(|loss| all.add(loss));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_add_up_by_kind() {
        let mut report = Report::default();
        let loss = |error, energy| Some(Loss { error, energy, n_not_finite: 0 });
        report.add("blk.0.attn_q.weight", "q4_K", 100, (200, 50), loss(1.0, 60.0));
        report.add("output_norm.weight", "f32", 10, (40, 40), None);
        report.add("blk.1.attn_q.weight", "q6_K", 100, (200, 80), loss(3.0, 40.0));
        assert_eq!(report.groups.len(), 2);
        assert_eq!(report.groups[0].formats, [("q4_K", 1), ("q6_K", 1)]);
        assert_eq!(report.groups[0].loss.unwrap().relative_rmse(), 0.2);
        assert_eq!(report.groups[1].loss, None);
        assert_eq!((report.bytes_before, report.bytes_after), (440, 170));
        assert_eq!(report.bits_per_weight(report.bytes_before), 440.0 * 8.0 / 210.0);
        assert_eq!(Report::default().bits_per_weight(0), 0.0);
    }
}
