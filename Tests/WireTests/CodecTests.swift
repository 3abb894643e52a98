import Cluster
import Foundation
import Pricing
import Regression
import Testing
import Wire

/// One of each message, with every field set.
private enum Sample {
    static let blob = BlobReference(to: [1, 2, 3])
    static let attempt = Attempt(job: JobID(study: StudyID(.max), batch: 3, items: 5..<900), number: 7)
    static let call = Attempt(job: JobID(study: StudyID(1), batch: 2, items: 7..<8, call: 0), number: 3)
    static let put = DownAndOutPut().descriptor
    static let domain = try! Domain(
        inputs: put.inputs.map { .init(name: $0.name, lower: $0.lower, upper: $0.upper) }, constraints: put.constraints)
    static let report = EpochReport(epoch: 4, trainingMSE: 0.5, learningRate: 1e-3, isLast: true)
    static let maximizers = Maximizers(
        dimension: 2, inputs: [0, 0.25, 0.5, 1], predictions: [1, -2], labels: [0.1, 7], standardErrors: [0, 0.5])

    static func surface(_ gradient: OracleGradient) -> SurfaceSettings {
        SurfaceSettings(
            oracle: .init(name: "downAndOutPut", fingerprint: "f"), domain: domain, labelScale: -2.5, gradient: gradient
        )
    }

    static let works: [Work] = [
        .train(
            TrainingWork(
                start: .fresh(hidden: [3, 4]), samples: blob,
                settings: TrainingSettings(halt: .init(relativeChange: 0.1, overEpochs: 3)),
                randomSeed: .max, run: 9)),
        .train(
            TrainingWork(
                start: .from(blob), samples: blob, second: BlobReference(to: [9]), weightOfFirst: 0.25,
                settings: TrainingSettings(
                    optimizer: .sgd(momentum: 0.5), batch: .full, epochs: 3, learningRate: 2,
                    schedule: .step(every: 4, factor: 0.5)), randomSeed: 0, run: 0, epochs: 2)),
        .train(
            TrainingWork(
                start: .resumed(blob), samples: blob, settings: TrainingSettings(schedule: .constant), randomSeed: 0,
                run: 0)),
        .train(
            TrainingWork(
                start: .fresh(hidden: []), samples: blob,
                settings: TrainingSettings(schedule: .constant), randomSeed: 0, run: 0)),
        .ascend(
            surface(.own), parameters: blob,
            stage: AscentStage(steps: 1, stepSize: 0.5, momentum: 0.25, decay: 0.125, decayEvery: 7, stopStep: 0.0625),
            seeds: [0, 0.1, 0.2, 0.3, 1]),
        .probe(
            surface(.differences(step: 0.25)), parameters: blob,
            ProbeSettings(radius: 0.5, directions: 3, randomSeed: 8),
            Maximizers(dimension: 5, inputs: [0, 0, 0, 0, 1], predictions: [2], labels: [3], standardErrors: [0])),
        .label(.init(name: "o", fingerprint: "f"), points: [1, -1e300], gradient: true),
        .predict(parameters: blob, inputs: []),
    ]

    static let results: [WorkResult] = [
        .trained(blob, epochs: [report, report]),
        .maximizers(maximizers, oracleCalls: [12, 3]),
        .gains([1, -1], oracleCalls: [3, 4]),
        .labels(Valuations(prices: [1, 2], standardErrors: [0.1, 0.2], statuses: [.ok, .notConverged])),
        .labels(Valuations(prices: [1], statuses: [.extended])),
        .labels(Valuations(prices: [1], gradients: [2, 3], statuses: [.ok])),
        .predictions([0.5]),
    ]

    static let toCoordinator: [ToCoordinator] = simple + finished + joined
    static let next = Attempt(job: JobID(study: StudyID(.max), batch: 3, items: 900..<902), number: 1)
    /// What several jobs say together.
    static let joined: [ToCoordinator] = [
        (Valuations(prices: [1], statuses: [.ok]), Valuations(prices: [2], statuses: [.invalid]), [7..<8, 2..<3]),
        (
            Valuations(prices: [1, 2], standardErrors: [0.5, 0], gradients: [1, 2, 3, 4], statuses: [.ok, .failed]),
            Valuations(prices: [3], standardErrors: [1], gradients: [5, 6], statuses: [.extended]), [0..<2, 9..<10]
        ),
    ].map { first, second, items in
        .results(
            zip([first, second], items).map { labels, items in
                .init(
                    incarnation: Incarnation(1),
                    attempt: Attempt(job: JobID(study: StudyID(8), batch: 1, items: items), number: 2),
                    duration: .microseconds(items.lowerBound), outcome: .success(.labels(labels)))
            })
    }
    static let finished: [ToCoordinator] = results.map {
        .finished(.init(incarnation: Incarnation(1), attempt: attempt, duration: .zero, outcome: .success($0)))
    }
    static let simple: [ToCoordinator] =
        [
            .hello(
                .init(
                    incarnation: Incarnation(.max), role: .trainer, name: "näme", processID: -4, slots: 1, credit: 2,
                    oracles: [.init(name: "o", fingerprint: "f")], numerics: "n", held: [attempt])),
            .hello(
                .init(
                    incarnation: Incarnation(1), role: .worker, name: "n", processID: 1, slots: 1, credit: 2,
                    oracles: [.init(name: "o", fingerprint: "f"), .init(name: "p", fingerprint: "g")],
                    testimonies: [.init(name: "p", fingerprint: "g"): Digest(of: [1])], numerics: "n", held: [])),
            .heartbeat(.init(incarnation: Incarnation(1), held: [attempt, attempt])),
            .progress(.init(incarnation: Incarnation(1), attempt: attempt, epoch: report)),
            .goodbye(Incarnation(2)),
            .exited(.init(incarnation: Incarnation(3), cause: "signal 9")),
            .want(.init(blob: blob, offset: 2)),
            .blob(.init(blob: blob, offset: 1, bytes: [2, 3])),
            .submit(
                .init(
                    token: 5, study: "study: x",
                    attachments: [.init(part: .model, blob: blob), .init(part: .seeds, blob: blob)])),
            .watch(.init(study: StudyID(6), term: 2, after: 12)),
            .cancelStudy(StudyID(6)), .pauseStudy(StudyID(6), true), .listStudies,
            .heartbeat(.init(incarnation: Incarnation(1), held: [call])),
            .submit(.init(token: 6, study: "x", attachments: [], wantsFreshLabels: true, share: 0.5, priority: -2)),
            .finished(
                .init(
                    incarnation: Incarnation(1), attempt: attempt, duration: .milliseconds(1500),
                    outcome: .failure(WorkFailure("no", isFinal: true)))),
        ]

    static let endings: [StudyEvent.Ending] = [
        .done(files: [.init(name: "summary.json", blob: blob)], incomplete: true), .failed("why"), .cancelled,
    ]
    static let events: [StudyEvent.What] =
        [
            .phase(.search, note: "n"), .progress(.label, done: 3, total: 9), .epoch(.train, report, epochs: 14),
            .worker(.joined, name: "w", detail: "d"), .worker(.lost, name: "w", detail: ""),
            .worker(.left, name: "w", detail: ""), .worker(.refused, name: "w", detail: "d"), .reassigned("r"),
            .abandoned("a"),
        ] + endings.map { .ended($0) }

    static let fromCoordinator: [FromCoordinator] =
        [
            .welcome(.init(term: 3, heartbeat: .seconds(2), publisher: "tcp://127.0.0.1:1")),
            .studies([]),
            .studies(
                StudySummary.State.allCases.map {
                    .init(
                        study: StudyID(3), name: "n", state: $0, phase: .search, done: 1, total: 2, share: 3,
                        priority: -4, jobs: 5)
                }),
            .acknowledge(attempt), .acknowledge(call), .cancel(attempt), .unknownPeer, .drain,
            .parameters(.init(study: StudyID(1), version: 2, blob: blob, bytes: [1, 2, 3])),
            .want(.init(blob: blob, offset: 0)), .blob(.init(blob: blob, offset: 0, bytes: [])),
            .accepted(.init(token: 1, study: StudyID(2))), .rejected(.init(token: 1, problems: ["a", "b"])),
            .events(
                .init(
                    study: StudyID(1), term: 2,
                    events: events.enumerated().map { .init(number: $0 + 1, at: .milliseconds($0), what: $1) })),
            .acknowledgements([attempt, next]), .acknowledgements([call, call]), .cancellations([next, attempt]),
            .assignments([
                .init(attempt: call, work: .label(.init(name: "o", fingerprint: "f"), points: [1, 2], gradient: true)),
                .init(attempt: call, work: .label(.init(name: "o", fingerprint: "f"), points: [3, 4], gradient: true)),
            ]),
            .assignments([
                .init(attempt: next, work: .predict(parameters: blob, inputs: [1, 2, 3, 4])),
                .init(
                    attempt: Attempt(job: JobID(study: StudyID(.max), batch: 3, items: 0..<1), number: 1),
                    work: .predict(parameters: blob, inputs: [5, 6])),
            ]),
        ] + works.map { .assign(.init(attempt: attempt, work: $0)) }
}

@Suite struct CodecTests {
    @Test func everyMessageSurvivesTheRoundTrip() throws {
        for message in Sample.toCoordinator {
            #expect(try Codec.decodeToCoordinator(Codec.encode(message)) == message)
        }
        for message in Sample.fromCoordinator {
            #expect(try Codec.decodeFromCoordinator(Codec.encode(message)) == message)
        }
    }

    @Test func everyKindOfMessageIsAmongThem() {
        // A new case of a message must be added to the samples: the names of all cases are counted by reflection.
        func kinds<Message>(_ messages: [Message]) -> Int {
            Set(messages.map { "\($0)".prefix { $0 != "(" } }).count
        }
        #expect(kinds(Sample.toCoordinator) == 14)
        #expect(kinds(Sample.fromCoordinator) == 16)
        #expect(kinds(Sample.works) == Work.Kind.allCases.count)
        #expect(kinds(Sample.events) == 7)
    }

    /// The frames that fuzzing starts from. To write them anew: CAIRN_WRITE_CORPORA=1 swift test --filter CodecTests.
    @Test func corporaHoldEveryMessage() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Fuzz/Corpora")
        let frames =
            Sample.toCoordinator.enumerated().map { ("toCoordinator/\($0)", Codec.encode($1)) }
            + Sample.fromCoordinator.enumerated().map { ("fromCoordinator/\($0)", Codec.encode($1)) }
        for (name, frame) in frames {
            let file = root.appending(path: name)
            if ProcessInfo.processInfo.environment["CAIRN_WRITE_CORPORA"] != nil {
                try FileManager.default.createDirectory(
                    at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(frame).write(to: file)
            }
            #expect(try Array(Data(contentsOf: file)) == frame, "\(name) is not what is sent today")
        }
    }

    @Test func messagesOfOtherVersionsAreRefused() throws {
        for message in Sample.toCoordinator {
            for version in [UInt8(0), Codec.version + 1, 255] {
                var frame = Codec.encode(message)
                frame[3] = version
                #expect { try Codec.decodeToCoordinator(frame) } throws: { "\($0)".contains("version \(version)") }
            }
        }
        // A field that this version does not know, as a newer peer of the same version may send: read without it.
        var longer = Codec.encode(ToCoordinator.goodbye(Incarnation(1)))
        longer += [0xFA, 0x3F, 0x02, 0x41, 0x42]
        longer[4] += 5
        #expect(try Codec.decodeToCoordinator(longer) == .goodbye(Incarnation(1)))
    }

    /// A frame with these bytes as its envelope.
    private func framed(_ envelope: [UInt8], length: Int? = nil) -> [UInt8] {
        let length = length ?? envelope.count
        return Array("CRN".utf8) + [Codec.version] + (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
            + envelope
    }

    @Test func whatFollowsTheEnvelopeIsTheBlobs() throws {
        let blob = BlobReference(to: [1, 2, 3, 4])
        let chunk = BlobChunk(blob: blob, offset: 1, bytes: [2, 3])
        let frame = Codec.encode(ToCoordinator.blob(chunk))
        #expect(frame.suffix(2) == [2, 3])
        #expect(try Codec.decodeToCoordinator(frame) == .blob(chunk))
        // Three bytes fit, four do not; of a push all must be there.
        #expect(throws: Never.self) { try Codec.decodeToCoordinator(frame + [4]) }
        #expect(throws: WireError.self) { try Codec.decodeToCoordinator(frame + [4, 5]) }
        let published = FromCoordinator.parameters(
            .init(study: StudyID(1), version: 1, blob: blob, bytes: [1, 2, 3, 4]))
        #expect(try Codec.decodeFromCoordinator(Codec.encode(published)) == published)
        #expect(throws: WireError.self) { try Codec.decodeFromCoordinator(Array(Codec.encode(published).dropLast())) }
        // Nothing may follow other messages, and an envelope may not be longer than its frame, or than can be.
        #expect(throws: WireError.self) { try Codec.decodeFromCoordinator(Codec.encode(.drain) + [0]) }
        for length in [1, 1 << 31, 0xFFFF_FFFF] {
            #expect(throws: WireError.self) { try Codec.decodeFromCoordinator(framed([], length: length)) }
        }
    }

    @Test func claimsOfSizeCostNothing() {
        // Lengths that a frame claims and does not have: refused before anything of that size is made.
        for claim: [UInt8] in [
            [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x07], [0x42, 0xFF, 0xFF, 0xFF, 0x7F],
            [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        ] {
            let frame = framed(claim + [1, 2, 3])
            #expect(throws: WireError.self) { try Codec.decodeToCoordinator(frame) }
            #expect(throws: WireError.self) { try Codec.decodeFromCoordinator(frame) }
        }
        // Nothing nested so deep that reading it ends the stack.
        let deep = framed([UInt8](repeating: 0x0A, count: 100_000))
        #expect(throws: WireError.self) { try Codec.decodeToCoordinator(deep) }
    }

    @Test func nanTravelsWhereItHasAMeaning() throws {
        let result = WorkResult.predictions([.nan, .infinity])
        let message = ToCoordinator.finished(
            .init(incarnation: Incarnation(1), attempt: Sample.attempt, duration: .zero, outcome: .success(result)))
        guard case .finished(let finished) = try Codec.decodeToCoordinator(Codec.encode(message)),
            case .success(.predictions(let numbers)) = finished.outcome
        else {
            Issue.record("another message")
            return
        }
        #expect(numbers[0].isNaN && numbers[1] == .infinity)
    }

    @Test func framesOfOthersAreRefused() {
        #expect(throws: WireError.self) { try Codec.decodeToCoordinator([]) }
        #expect(throws: WireError.self) { try Codec.decodeToCoordinator(Array("CRN".utf8)) }
        #expect(throws: WireError.self) { try Codec.decodeToCoordinator(Array("GET / HTTP/1.1\r\n".utf8)) }
        var newer = Codec.encode(ToCoordinator.goodbye(Incarnation(1)))
        newer[3] = 9
        #expect { try Codec.decodeToCoordinator(newer) } throws: { "\($0)".contains("version 9") }
        #expect(throws: WireError.self) { try Codec.decodeToCoordinator(Array("CRN".utf8) + [1]) }
    }

    @Test func truncatedFramesAreRefusedOrMeanLess() {
        // Protobuf cannot tell a message that was cut between two fields from a shorter one; whatever is read must be a
        // message that the checks let pass, and nothing may crash.
        for message in Sample.toCoordinator {
            let bytes = Codec.encode(message)
            for cut in 0..<bytes.count { _ = try? Codec.decodeToCoordinator(Array(bytes[..<cut])) }
        }
        for message in Sample.fromCoordinator {
            let bytes = Codec.encode(message)
            for cut in 0..<bytes.count { _ = try? Codec.decodeFromCoordinator(Array(bytes[..<cut])) }
        }
    }

    @Test func damagedFramesDoNotCrash() {
        var stream = RandomStream(seed: 11, purpose: .other)
        let frames = Sample.toCoordinator.map { Codec.encode($0) } + Sample.fromCoordinator.map { Codec.encode($0) }
        for _ in 0..<60_000 {
            var bytes = frames[stream.below(frames.count)]
            for _ in 0...stream.below(4) {
                switch stream.below(4) {
                case 0: bytes[4 + stream.below(max(1, bytes.count - 4))] = UInt8(truncatingIfNeeded: stream.next())
                case 1: bytes.insert(UInt8(truncatingIfNeeded: stream.next()), at: 4)
                case 2: bytes.removeLast(min(bytes.count - 5, stream.below(8)))
                default: bytes += (0..<stream.below(20)).map { _ in UInt8(truncatingIfNeeded: stream.next()) }
                }
                if bytes.count < 6 { break }
            }
            _ = try? Codec.decodeToCoordinator(bytes)
            _ = try? Codec.decodeFromCoordinator(bytes)
        }
    }

    /// Values that protobuf can say and Cairn must not believe: each is an error, not a trap.
    @Test func impossibleValuesAreRefused() {
        func refused(_ message: ToCoordinator) -> Bool {
            (try? Codec.decodeToCoordinator(Codec.encode(message))) == nil
        }
        func refused(_ message: FromCoordinator) -> Bool {
            (try? Codec.decodeFromCoordinator(Codec.encode(message))) == nil
        }
        func finished(_ result: WorkResult) -> ToCoordinator {
            .finished(
                .init(incarnation: Incarnation(1), attempt: Sample.attempt, duration: .zero, outcome: .success(result)))
        }
        func assign(_ work: Work) -> FromCoordinator { .assign(.init(attempt: Sample.attempt, work: work)) }
        var uneven = Sample.maximizers
        uneven.labels = [1]
        #expect(refused(finished(.maximizers(uneven, oracleCalls: [1]))))
        uneven = Sample.maximizers
        uneven.inputs[0] = .nan
        #expect(refused(finished(.maximizers(uneven, oracleCalls: [1]))))
        #expect(refused(finished(.labels(Valuations(prices: [1, 2], statuses: [.ok])))))
        #expect(refused(ToCoordinator.want(.init(blob: Sample.blob, offset: 4))))
        #expect(refused(ToCoordinator.blob(.init(blob: Sample.blob, offset: 2, bytes: [1, 2]))))
        #expect(refused(.parameters(.init(study: StudyID(1), version: 1, blob: Sample.blob, bytes: [1]))))
        #expect(refused(assign(.label(.init(name: "o", fingerprint: "f"), points: [.nan], gradient: false))))
        #expect(refused(assign(.predict(parameters: Sample.blob, inputs: [.infinity]))))
        #expect(
            refused(
                assign(.ascend(Sample.surface(.own), parameters: Sample.blob, stage: AscentStage(), seeds: [1, 2]))))
        #expect(
            refused(
                .hello(
                    .init(
                        incarnation: Incarnation(1), role: .worker, name: "w", processID: 1, slots: 0, credit: 0,
                        oracles: [],
                        numerics: "", held: []))))
        #expect(
            refused(
                .hello(
                    .init(
                        incarnation: Incarnation(1), role: .worker, name: String(repeating: "x", count: 300),
                        processID: 1, slots: 1, credit: 1, oracles: [], numerics: "", held: []))))
        #expect(refused(.welcome(.init(term: 1, heartbeat: .zero, publisher: ""))))
        let path = StudyEvent.What.ended(.done(files: [.init(name: "../x", blob: Sample.blob)], incomplete: false))
        #expect(refused(.events(.init(study: StudyID(1), term: 1, events: [.init(number: 1, at: .zero, what: path)]))))
        let repeated = ToCoordinator.Attachment(part: .test, blob: Sample.blob)
        #expect(refused(.submit(.init(token: 1, study: "", attachments: [repeated, repeated]))))
    }

    /// Jobs that travel together, and columns that do not belong to them.
    @Test func whatIsJoinedIsCutAsItWas() throws {
        let oracle = OracleReference(name: "o", fingerprint: "f")
        func assignment(_ items: Range<Int>, batch: Int = 1) -> FromCoordinator {
            .assign(
                .init(
                    attempt: Attempt(job: JobID(study: StudyID(8), batch: batch, items: items), number: 1),
                    work: .label(oracle, points: items.flatMap { [Double($0), -Double($0)] }, gradient: false)))
        }
        func acknowledgement(_ item: Int) -> FromCoordinator {
            .acknowledge(Attempt(job: JobID(study: StudyID(8), batch: 1, items: item..<item + 1), number: 1))
        }
        let said: [FromCoordinator] =
            (0..<5000).map { assignment($0..<$0 + 1) } + [assignment(1..<9), .drain, assignment(3..<4, batch: 2)]
            + (0..<3).map(acknowledgement) + [assignment(4..<5), acknowledgement(7)]
        let joined = FromCoordinator.joined(said)
        #expect(joined.count == 7)
        #expect(joined.flatMap(\.parts) == said)
        #expect(try joined.flatMap { try Codec.decodeFromCoordinator(Codec.encode($0)).parts } == said)

        // Rows that are too few for the jobs: nobody knows whose they are.
        var lacking = FromCoordinator.joined([assignment(0..<2), assignment(2..<3)])
        if case .assignments(var list) = lacking[0] {
            list[1].work = .label(oracle, points: [1], gradient: false)
            lacking = [.assignments(list)]
        }
        #expect(throws: WireError.self) { try Codec.decodeFromCoordinator(Codec.encode(lacking[0])) }
        let many = (0..<5000).map { Attempt(job: JobID(study: StudyID(8), batch: 1, items: $0..<$0 + 1), number: 1) }
        #expect(throws: WireError.self) {
            try Codec.decodeFromCoordinator(Codec.encode(FromCoordinator.acknowledgements(many)))
        }
    }
}
