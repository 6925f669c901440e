//! `/proc/cpuinfo`.

use serde_json::{Map, Value};

/// Processors that are listed; a host with more is told by its first.
const MAX_CPUS: usize = 1_024;

/// How the kernel calls what the metadata calls otherwise, and whether it is a whole number.
const FIELDS: [(&str, &str, bool); 10] = [
    ("processor", "CPU", true),
    ("vendor_id", "VendorID", false),
    ("cpu family", "Family", false),
    ("model", "Model", false),
    ("model name", "ModelName", false),
    ("stepping", "Stepping", true),
    ("physical id", "PhysicalID", false),
    ("core id", "CoreID", false),
    ("cpu cores", "Cores", true),
    ("microcode", "Microcode", false),
];

/// `CPU` of the metadata: the processors, with whole numbers where people count and text where they
/// name.
pub(super) fn cpus(info: &str) -> Vec<Value> {
    let processors = info.split("\n\n").map(processor);
    let processors = processors.filter(|processor| processor.contains_key("CPU"));
    processors.take(MAX_CPUS).map(Value::from).collect()
}

fn processor(lines: &str) -> Map<String, Value> {
    let mut processor = Map::new();
    for (name, text) in lines.lines().filter_map(|line| line.split_once(':')) {
        let (name, text) = (name.trim(), text.trim());
        let mut say = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                processor.insert(key.to_owned(), value);
            }
        };
        let whole = |text: &str| text.split('.').next()?.parse::<u64>().ok().map(Value::from);
        match name {
            "cpu MHz" => say("Mhz", whole(text)),
            // In KiB.
            "cache size" => say("CacheSize", text.split(' ').next().and_then(whole)),
            _ => {
                if let Some((_, key, is_number)) = FIELDS.iter().find(|(field, ..)| *field == name) {
                    say(
                        key,
                        if *is_number {
                            whole(text)
                        } else {
                            Some(text.into())
                        },
                    );
                }
            }
        }
    }
    processor
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_processor_is_listed() {
        let info = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\n\
                    model name\t: Xeon\nstepping\t: 8\ncpu MHz\t\t: 2100.152\ncache size\t: 55296 KB\n\
                    physical id\t: 0\ncore id\t\t: 1\ncpu cores\t: 2\nmicrocode\t: 0x1\nflags\t\t: fpu\n\n\
                    processor\t: 1\n\n";
        assert_eq!(
            cpus(info),
            [
                json!({"CPU": 0, "VendorID": "GenuineIntel", "Family": "6", "Model": "143", "ModelName": "Xeon",
                       "Stepping": 8, "Mhz": 2100, "CacheSize": 55296, "PhysicalID": "0", "CoreID": "1",
                       "Cores": 2, "Microcode": "0x1"}),
                json!({"CPU": 1}),
            ]
        );
    }
}
