import ChildProcess
import Cluster
import Foundation
import Regression
import Runtime
import Testing

/// What a journal promises: what was appended comes back, in order, with its blobs; what is no longer needed goes.
@Suite struct JournalTests {
    private func inFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cairn-journal-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path)
    }

    private func submission(_ token: UInt64, _ attachments: [ToCoordinator.Attachment] = []) -> ToCoordinator.Submission
    {
        .init(token: token, study: "study: s\n", attachments: attachments)
    }

    private let oracle = OracleReference(name: "slow", fingerprint: "slow/1")

    @Test func factsComeBackInOrder() throws {
        try inFolder { folder in
            let training = [UInt8](repeating: 7, count: 3_000_000)
            let parameters: [UInt8] = [1, 2, 3]
            let study = StudyID(5)
            let job = JobID(study: study, batch: 1, items: 3..<6)
            let facts: [Fact] = [
                .termBegan(1),
                .studyAccepted(study, submission(8, [.init(part: .training, blob: BlobReference(to: training))])),
                .itemsCompleted(job, .labels(Valuations(prices: [1, -0.0, .nan]))),
                .attemptLost(Attempt(job: job, number: 2), cause: "w: signal 9"),
                .jobAbandoned(job, reason: "three times"),
                .itemsCompleted(
                    JobID(study: study, batch: 2, items: 0..<1),
                    .trained(BlobReference(to: parameters), epochs: [])),
            ]
            let blobs = [training, parameters].reduce(into: [:]) { $0[Digest(of: $1)] = $1 }
            do {
                let journal = try Journal(folder: folder, keptStudies: 20)
                try journal.append(Array(facts[..<3])) { blobs[$0] }
                try journal.append(Array(facts[3...])) { blobs[$0] }
            }
            let journal = try Journal(folder: folder, keptStudies: 20)
            let again = try journal.facts()
            #expect(again.map { "\($0)" } == facts.map { "\($0)" })
            #expect(journal.blob(Digest(of: training)) == training)
            #expect(journal.part(Digest(of: training), offset: 2_999_990, limit: 100).count == 10)
            #expect(journal.part(Digest(of: [9]), offset: 0, limit: 100).isEmpty)
        }
    }

    @Test func onlyTheLastTermIsKept() throws {
        try inFolder { folder in
            let journal = try Journal(folder: folder, keptStudies: 20)
            for term in 1...100 { try journal.append([.termBegan(UInt64(term))]) { _ in nil } }
            let facts = try journal.facts()
            #expect(facts.count == 1)
            guard case .termBegan(100)? = facts.first else {
                Issue.record("\(facts)")
                return
            }
        }
    }

    @Test func whatAnEndedStudyNoLongerNeedsGoes() throws {
        try inFolder { folder in
            let journal = try Journal(folder: folder, keptStudies: 3)
            func files() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: folder + "/blobs").count }
            for k in 1...10 {
                let study = StudyID(UInt64(k))
                let (input, result): ([UInt8], [UInt8]) = ([UInt8(k), 0], [UInt8(k), 1])
                let blobs = [Digest(of: input): input, Digest(of: result): result]
                let job = JobID(study: study, batch: 0, items: 0..<4)
                try journal.append([
                    .studyAccepted(
                        study, submission(UInt64(k), [.init(part: .seeds, blob: BlobReference(to: input))])),
                    .itemsCompleted(job, .predictions([1, 2, 3, 4])),
                ]) { blobs[$0] }
                let file = StudyEvent.File(name: "summary.json", blob: BlobReference(to: result))
                try journal.append([.studyEnded(study, .done(files: [file], incomplete: false))]) { blobs[$0] }
            }
            let facts = try journal.facts()
            #expect(facts.count == 6, "three studies, how they began and ended")
            #expect(facts.compactMap(\.study).map(\.value) == [8, 8, 9, 9, 10, 10])
            #expect(try files() == 3, "their results only")
        }
    }

    /// What the ledger knows of rows of two inputs; nothing of it is damaged.
    private func labels(_ journal: Journal, _ oracle: OracleReference, _ points: [Double]) -> [Coordinator.KnownLabels]
    {
        var damaged = 0
        let known = journal.labels(oracle, points, dimension: 2, damaged: &damaged)
        #expect(damaged == 0)
        return known
    }

    /// A bit that flips on the disk makes another price, which nobody may believe: it is priced and kept anew.
    @Test func aDamagedLabelIsNoLabel() throws {
        try inFolder { folder in
            let journal = try Journal(folder: folder, keptStudies: 3)
            let paid = Fact.labelsPaid(
                oracle, points: [1, 2, 3, 4, 5, 6], Valuations(prices: [0.1, 0.2, 0.3], standardErrors: [1, 2, 3]),
                worker: "w")
            try journal.append([paid]) { _ in nil }
            for column in [
                "price = 0.25", "standardError = 2.5", "status = 1", "price = char(120), status = 70000", "digest = 0",
            ] {
                try ChildProcess.run([
                    "python3", "-c",
                    "import sqlite3,sys; c = sqlite3.connect(sys.argv[1]); "
                        + "c.execute('UPDATE label SET \(column) WHERE price = 0.2'); c.commit()",
                    folder + "/journal.sqlite",
                ])
                var damaged = 0
                let known = journal.labels(oracle, [1, 2, 3, 4, 5, 6], dimension: 2, damaged: &damaged)
                #expect(damaged == 1 && known.map(\.first) == [0, 2], "\(column)")
                try journal.append([paid]) { _ in nil }
                #expect(labels(journal, oracle, [1, 2, 3, 4, 5, 6]).map(\.valuations.prices) == [[0.1, 0.2, 0.3]])
            }
        }
    }

    /// A wrong oracle's labels go; those of others, and of its other versions, stay.
    @Test func labelsOfAnOracleCanBeForgotten() throws {
        try inFolder { folder in
            let fingerprints = ["heston/1+abc", "heston/1+abc?spot=1", "heston/1+abcd", "hestonian/1+abc", "asian/1"]
            for asked in ["abc", "1+abc", "heston/1+abc"] {
                var journal: Journal? = try Journal(folder: folder, keptStudies: 3)
                try journal?.append(
                    fingerprints.map {
                        let name = String($0.prefix { $0 != "/" })
                        return .labelsPaid(
                            .init(name: name, fingerprint: $0), points: [1, 2, 3, 4], Valuations(prices: [0.1, 0.2]),
                            worker: "w")
                    }
                ) { _ in nil }
                #expect(throws: JournalError.self, "in use") {
                    try Journal.ledger(in: folder).invalidate(oracle: "heston", fingerprint: asked)
                }
                journal = nil
                #expect(
                    try Journal.ledger(in: folder).invalidate(oracle: "heston", fingerprint: asked) == 4, "\(asked)")
                #expect(try Journal.ledger(in: folder).invalidate(oracle: "heston", fingerprint: asked) == 0)
                let after = try Journal(folder: folder, keptStudies: 3)
                for fingerprint in fingerprints {
                    let oracle = OracleReference(name: "any", fingerprint: fingerprint)
                    let known = labels(after, oracle, [1, 2, 3, 4])
                    #expect(known.isEmpty == ["heston/1+abc", "heston/1+abc?spot=1"].contains(fingerprint))
                }
            }
            #expect(throws: JournalError.self) {
                try Journal.ledger(in: folder + "/nothing")
            }
        }
    }

    /// Whoever priced a label stands beside it, so that one bad worker's can be told from the others'.
    @Test func labelsOfAWorkerCanBeForgotten() throws {
        try inFolder { folder in
            let journal = try Journal(folder: folder, keptStudies: 3)
            // The journal's clock: others are some milliseconds ahead of it, which can be the next second.
            let before = time(nil)
            try journal.append([
                .labelsPaid(oracle, points: [1, 2, 3, 4], Valuations(prices: [0.1, 0.2]), worker: "good"),
                .labelsPaid(oracle, points: [3, 4, 5, 6], Valuations(prices: [0.2, 0.3]), worker: "bad"),
            ]) { _ in nil }
            let counts = try journal.labelCounts()
            #expect(counts.map(\.worker) == ["bad", "good"] && counts.map(\.labels) == [1, 2], "\(counts)")
            #expect(counts.allSatisfy { $0.oracle == oracle.fingerprint && $0.first >= before && $0.last >= $0.first })
            let name = oracle.name
            #expect(
                try journal.invalidate(oracle: name, fingerprint: oracle.fingerprint, worker: "nobody") == 0)
            #expect(try journal.invalidate(oracle: name, fingerprint: oracle.fingerprint, worker: "bad") == 1)
            #expect(labels(journal, oracle, [1, 2, 3, 4, 5, 6]).map(\.valuations.prices) == [[0.1, 0.2]])
        }
    }

    /// What an oracle could not price is not kept: another try may have a price.
    @Test func failuresAreNotPaid() throws {
        try inFolder { folder in
            let journal = try Journal(folder: folder, keptStudies: 3)
            var paid = Valuations(prices: [0.1, .nan, .nan])
            paid.statuses = [.ok, .failed, .nonFinite]
            try journal.append([.labelsPaid(oracle, points: [1, 2, 3, 4, 5, 6], paid, worker: "w")]) { _ in nil }
            let known = labels(journal, oracle, [1, 2, 3, 4, 5, 6])
            #expect(known.count == 1 && known[0].first == 0 && known[0].valuations.prices == [0.1])
        }
    }

    @Test func theLedgerKnowsWhatWasPaid() throws {
        try inFolder { folder in
            let journal = try Journal(folder: folder, keptStudies: 3)
            let points = (0..<20).map { Double($0) / 3 }
            #expect(labels(journal, oracle, points).isEmpty)
            var paid = Valuations(prices: [0.1, 0.2, .nan, 0.4, 0.5], standardErrors: [1, 2, 3, 4, 5])
            paid.statuses[3] = .notConverged
            try journal.append([.labelsPaid(oracle, points: Array(points[4..<14]), paid, worker: "w")]) { _ in nil }
            let known = labels(journal, oracle, points)
            // Rows 2, 3 and 6; what has no good price may have one another time.
            #expect(known.map(\.first) == [2, 6])
            #expect(known.map(\.valuations.prices) == [[0.1, 0.2], [0.5]])
            #expect(known.map(\.valuations.standardErrors) == [[1, 2], [5]])
            let other = OracleReference(name: "slow", fingerprint: "slow/2")
            #expect(labels(journal, other, points).isEmpty, "another fingerprint, other labels")
            var moved = points
            moved[4] = moved[4].nextUp
            #expect(labels(journal, oracle, moved).map(\.first) == [3, 6], "the very bits")
        }
    }

    @Test func aJournalIsLockedWhileItIsOpen() throws {
        try inFolder { folder in
            let first = try Journal(folder: folder, keptStudies: 3)
            #expect(throws: JournalError.self) { _ = try Journal(folder: folder, keptStudies: 3) }
            withExtendedLifetime(first) {}
        }
    }

    @Test func aNewerJournalIsLeftAlone() throws {
        try inFolder { folder in
            do { _ = try Journal(folder: folder, keptStudies: 3) }
            try ChildProcess.run([
                "python3", "-c",
                "import sqlite3,sys; c = sqlite3.connect(sys.argv[1]); "
                    + "c.execute(\"INSERT INTO grdb_migrations VALUES ('of the future')\"); c.commit()",
                folder + "/journal.sqlite",
            ])
            let error = #expect(throws: JournalError.self) { _ = try Journal(folder: folder, keptStudies: 3) }
            #expect(error?.description.contains("newer Cairn") == true)
        }
    }
}
