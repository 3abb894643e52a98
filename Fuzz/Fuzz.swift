// Everything that reads bytes of others, under libFuzzer: `make fuzz SECONDS=…`.
//
// One executable; CAIRN_FUZZ_TARGET says which reader it feeds. A reader must give a value or its own error. What it
// takes must survive being written and read again, and a frame that the codec takes must not break the state machine
// that gets it.

import Cluster
import Glibc
import Pricing
import Regression
import Runtime
import Wire

/// What is fed; corpora are in Fuzz/Corpora/NAME.
private enum Target: String, CaseIterable {
    case toCoordinator, fromCoordinator, study, cluster, csv, npy, safetensors, samples
}

private let target: Target = {
    let word = getenv("CAIRN_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = Target(rawValue: word) else {
        let names = Target.allCases.map(\.rawValue).joined(separator: ", ")
        fatalError("CAIRN_FUZZ_TARGET=\(word) is none of: \(names)")
    }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    switch target {
    case .toCoordinator:
        guard let message = try? Codec.decodeToCoordinator(bytes) else { return 0 }
        let written = Codec.encode(message)
        guard let again = try? Codec.decodeToCoordinator(written), Codec.encode(again) == written else {
            fatalError("a message does not survive the round trip: \(message)")
        }
        // From a registered worker's connection, and from a stranger's.
        for peer in [PeerID(7), PeerID(8)] {
            var coordinator = busyCoordinator
            _ = coordinator.step(.received(message, from: peer), at: Instant(nanoseconds: 2))
            coordinator.checkInvariants()
            _ = coordinator.step(.tick, at: Instant(nanoseconds: 60_000_000_000))
            coordinator.checkInvariants()
        }
    case .fromCoordinator:
        guard let message = try? Codec.decodeFromCoordinator(bytes) else { return 0 }
        let written = Codec.encode(message)
        guard let again = try? Codec.decodeFromCoordinator(written), Codec.encode(again) == written else {
            fatalError("a message does not survive the round trip: \(message)")
        }
        var worker = busyWorker
        _ = worker.step(.received(message), at: Instant(nanoseconds: 2))
        worker.checkInvariants()
        _ = worker.step(.tick, at: Instant(nanoseconds: 60_000_000_000))
        worker.checkInvariants()
    case .study:
        guard let text = String(validating: bytes, as: UTF8.self),
            let file = try? StudyFile(name: "study.yaml", text: text, oracles: builtInOracles)
        else { return 0 }
        guard let again = try? StudyFile(name: "study.yaml", text: file.effective, oracles: builtInOracles),
            again.study == file.study
        else { fatalError("a study does not survive being written out:\n\(file.effective)") }
    case .cluster:
        guard let text = String(validating: bytes, as: UTF8.self),
            let file = try? ClusterFile(name: "cluster.yaml", text: text)
        else { return 0 }
        guard let again = try? ClusterFile(name: "cluster.yaml", text: file.effective), again == file else {
            fatalError("a cluster does not survive being written out:\n\(file.effective)")
        }
    case .csv: _ = try? NumberTable(csv: "a.csv", bytes, columns: ["x", "y"])
    case .npy: _ = try? NumberTable(npy: "a.npy", bytes, columns: ["x", "y"])
    case .safetensors:
        var metadata: [String: String] = [:]
        guard let surrogate = try? Surrogate(safetensors: bytes, metadata: &metadata) else { return 0 }
        var ignored: [String: String] = [:]
        let written = surrogate.safetensors(metadata: metadata)
        guard let again = try? Surrogate(safetensors: written, metadata: &ignored), again.layers == surrogate.layers
        else { fatalError("a surrogate does not survive being written out") }
    case .samples:
        if let samples = Samples(encoded: bytes), samples.encoded != bytes { fatalError("other bytes than were read") }
    }
    return 0
}

// MARK: Machines in the middle of something

private let job = JobID(study: StudyID(1), batch: 0, items: 0..<10)

/// With a study whose first labels are out at a worker.
private let busyCoordinator: Coordinator = {
    let text = "study: fuzz\ndata: {base: 20, test: 5}\n"
    guard let file = try? StudyFile(name: "study", text: text, oracles: builtInOracles) else {
        fatalError("the study of the fuzz tests is none")
    }
    var coordinator = Coordinator(settings: .init())
    let now = Instant(nanoseconds: 1)
    _ = coordinator.step(.started, at: now)
    _ = coordinator.step(
        .validated(.init(token: 1, study: text, attachments: []), StudyID(1), from: PeerID(9)), at: now)
    var plan = StudyPlan(study: file.study, descriptor: builtInOracles[0].descriptor, attachments: .init())
    let step = plan.next(nil, threads: 1)
    _ = coordinator.step(.planned(StudyID(1), plan, step), at: now)
    _ = coordinator.step(.known(StudyID(1), batch: 0, []), at: now)
    _ = coordinator.step(
        .received(
            .hello(
                .init(
                    incarnation: Incarnation(1), role: .worker, name: "w", processID: 1, slots: 1, credit: 2,
                    oracles: builtInOracles.map { OracleReference($0) }, numerics: "", held: [])), from: PeerID(7)),
        at: now)
    return coordinator
}()

/// With one job that runs and one that waits for a blob.
private let busyWorker: Worker = {
    var worker = Worker(
        settings: .init(
            incarnation: Incarnation(1), role: .worker, name: "w", processID: 1, oracles: [], numerics: ""))
    let now = Instant(nanoseconds: 1)
    _ = worker.step(.started, at: now)
    _ = worker.step(.received(.welcome(.init(term: 1, heartbeat: .seconds(2), publisher: ""))), at: now)
    let label = Work.label(OracleReference(name: "o", fingerprint: "f"), points: [1], gradient: false)
    _ = worker.step(.received(.assign(.init(attempt: Attempt(job: job, number: 1), work: label))), at: now)
    let next = JobID(study: StudyID(1), batch: 0, items: 10..<20)
    let predict = Work.predict(parameters: BlobReference(to: [1, 2, 3]), inputs: [0.5])
    _ = worker.step(.received(.assign(.init(attempt: Attempt(job: next, number: 1), work: predict))), at: now)
    return worker
}()
