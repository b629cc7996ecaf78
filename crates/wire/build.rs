//! Generates the protobuf types of the socket; protox parses, so that no `protoc` program is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "../../proto";
    let files = ["envelope.proto", "frames.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={folder}/{file}");
    }
    let descriptors = protox::compile(files, [folder])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
