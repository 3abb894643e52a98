// What a coordinator remembers beyond its own life: facts and labels in SQLite, blobs in files beside it.
//
// A folder holds `journal.sqlite` (write-ahead log, synchronous=FULL), `blobs/` (one file per blob, named by its SHA-256)
// and `lock`, which the coordinator that uses the folder has locked. Facts that came together are committed together, and
// nothing that acknowledges them is sent before; a blob is on disk before the fact that names it.
//
// What is kept: everything of a study while it runs; how it ended, and its files, until 64 later ones have ended; the
// labels that were costly, for ever.

package import Cluster
internal import FoundationEssentials
internal import GRDB
internal import Glibc
internal import Regression
internal import Wire

/// Why a journal cannot be used (any more).
package struct JournalError: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String
}

/// Safe from any thread.
package final class Journal: Sendable {
    private let folder: String
    private let keptStudies: Int
    private let lock: Int32
    private let database: DatabaseQueue

    private var blobFolder: String { "\(folder)/blobs" }

    /// Opens a folder, and makes it if it is not there.
    ///
    /// - Parameter keptStudies: how many studies that have ended are kept.
    /// - Throws: `JournalError` if the folder cannot be written, is in use, is damaged, or was written by a newer Cairn.
    package init(folder: String, keptStudies: Int) throws(JournalError) {
        self.folder = folder
        self.keptStudies = keptStudies
        let path = "\(folder)/journal.sqlite"
        do {
            try FileManager.default.createDirectory(atPath: "\(folder)/blobs", withIntermediateDirectories: true)
        } catch {
            throw JournalError(description: "\(folder): the folder cannot be made; choose another")
        }
        lock = open("\(folder)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else {
            throw JournalError(
                description:
                    "\(folder): cannot be written to (\(String(cString: strerror(errno)))); choose another folder")
        }
        var isLocked = flock(lock, LOCK_EX | LOCK_NB) == 0
        // A process that is just being started, or that has just been killed, still has what its parent had open, or it.
        for _ in 0..<50 where !isLocked {
            usleep(10_000)
            isLocked = flock(lock, LOCK_EX | LOCK_NB) == 0
        }
        guard isLocked else {
            close(lock)
            throw JournalError(
                description:
                    "\(folder): in use by another coordinator, process \(Self.owner(folder)); stop it, or choose another "
                    + "folder")
        }
        var database: DatabaseQueue?
        do {
            // A file that has begun and is empty now was truncated: SQLite would take it for a new one.
            let hasBegun = (try? String(contentsOfFile: "\(folder)/lock", encoding: .utf8))?.contains("begun") == true
            let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
            if hasBegun && size == 0 {
                throw JournalError(description: "\(path): is missing or empty, though a journal was begun here")
            }
            database = try Self.opened(path)
            let owner = Array("\(getpid()) begun\n".utf8)
            guard ftruncate(lock, 0) == 0, pwrite(lock, owner, owner.count, 0) == owner.count, fsync(lock) == 0 else {
                throw JournalError(description: "\(folder)/lock: \(String(cString: strerror(errno)))")
            }
        } catch {
            close(lock)
            throw Self.explained(error, path)
        }
        self.database = database!
    }

    /// The process that uses a folder's journal; nil if none does.
    package static func user(of folder: String) -> String? {
        let lock = open("\(folder)/lock", O_RDWR | O_CLOEXEC)
        guard lock >= 0 else { return nil }
        defer { close(lock) }
        guard flock(lock, LOCK_EX | LOCK_NB) != 0 else { return nil }
        return owner(folder)
    }

    private static func owner(_ folder: String) -> String {
        let words = (try? String(contentsOfFile: "\(folder)/lock", encoding: .utf8)) ?? ""
        return words.split(separator: " ").first.map(String.init) ?? "unknown"
    }

    deinit {
        try? database.close()
        close(lock)
    }

    private static func opened(_ path: String) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.journalMode = .wal
        let database = try DatabaseQueue(path: path, configuration: configuration)
        // Opening with a write-ahead log sets synchronous to NORMAL, so this comes after.
        let level = try database.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA synchronous = FULL")
            return try Int.fetchOne(db, sql: "PRAGMA synchronous")
        }
        precondition(level == 2, "synchronous is \(level ?? -1), not FULL")
        var migrator = DatabaseMigrator()
        migrator.registerMigration("facts, blobs, labels") { db in
            try db.execute(
                sql: """
                    CREATE TABLE fact (
                        id INTEGER PRIMARY KEY, study INTEGER, kind INTEGER NOT NULL, content BLOB NOT NULL,
                        digest BLOB NOT NULL);
                    CREATE INDEX factsOfStudy ON fact (study);
                    CREATE TABLE blob (
                        study INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (study, digest)) WITHOUT ROWID;
                    CREATE TABLE label (
                        oracle TEXT NOT NULL, input BLOB NOT NULL, price REAL NOT NULL, standardError REAL NOT NULL,
                        status INTEGER NOT NULL, PRIMARY KEY (oracle, input)) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("calls of items") { db in
            try db.execute(
                sql: """
                    ALTER TABLE fact ADD COLUMN item INTEGER;
                    CREATE INDEX callsOfItem ON fact (study, item) WHERE item IS NOT NULL;
                    """)
        }
        migrator.registerMigration("who priced a label, and when") { db in
            try db.execute(
                sql: """
                    ALTER TABLE label ADD COLUMN worker TEXT NOT NULL DEFAULT '';
                    ALTER TABLE label ADD COLUMN paid INTEGER NOT NULL DEFAULT 0;
                    """)
        }
        migrator.registerMigration("digests of labels") { db in
            try db.execute(sql: "ALTER TABLE label ADD COLUMN digest BLOB NOT NULL DEFAULT x''")
            let rows = try Row.fetchCursor(db, sql: "SELECT oracle, input, price, standardError, status FROM label")
            while let row = try rows.next() {
                try db.cachedStatement(sql: "UPDATE label SET digest = ? WHERE oracle = ? AND input = ?").execute(
                    arguments: [
                        labelDigest(row["oracle"], row["input"], row["price"], row["standardError"], row["status"]),
                        row["oracle"] as String, row["input"] as Data,
                    ])
            }
        }
        let (isNewer, check) = try database.read { db in
            (
                try migrator.hasBeenSuperseded(db),
                try String.fetchAll(db, sql: "PRAGMA quick_check(3)").joined(separator: "; ")
            )
        }
        if isNewer {
            throw JournalError(description: "\(path): written by a newer Cairn; use that, or choose another folder")
        }
        if check != "ok" { throw JournalError(description: damage(path, check)) }
        try migrator.migrate(database)
        _ = try database.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        return database
    }

    private static func damage(_ path: String, _ what: String) -> String {
        "\(path): is damaged (\(what)); no study was taken up. Restore the folder from a copy, or move it away to begin anew"
    }

    private static func explained(_ error: any Error, _ path: String) -> JournalError {
        if let error = error as? JournalError { return error }
        guard let error = error as? DatabaseError else { return JournalError(description: "\(path): \(error)") }
        switch error.resultCode {
        case .SQLITE_FULL:
            return JournalError(
                description: "\(path): the disk is full; nothing that was acknowledged is lost. Make room, then go on")
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_CANTOPEN:
            return JournalError(description: "\(path): cannot be written to; choose another folder")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return JournalError(description: damage(path, error.message ?? "no database"))
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return JournalError(description: "\(path): in use by another process; stop it, or choose another folder")
        default:
            return JournalError(description: "\(path): cannot be used: \(error.message ?? "\(error.resultCode)")")
        }
    }

    // MARK: Facts

    /// All facts, in order.
    ///
    /// - Throws: `JournalError` if one of them, or a blob that one names, is damaged.
    package func facts() throws(JournalError) -> [Fact] {
        do {
            let facts = try database.read { db in
                var facts: [Fact] = []
                let rows = try Row.fetchCursor(
                    db,
                    sql: """
                        SELECT id, CAST(content AS BLOB) AS content, CAST(digest AS BLOB) AS digest FROM fact ORDER BY id
                        """)
                while let row = try rows.next() {
                    let content = [UInt8](row["content"] as Data? ?? Data())
                    guard Digest(of: content).bytes == [UInt8](row["digest"] as Data? ?? Data()) else {
                        let id = row["id"] as Int64
                        throw JournalError(description: Self.damage("\(folder)/journal.sqlite", "fact \(id)"))
                    }
                    facts.append(try Codec.decodeFact(content))
                }
                return facts
            }
            for digest in facts.reduce(into: Set<Digest>(), { $0.formUnion($1.blobs) }) {
                guard let bytes = blob(digest), Digest(of: bytes) == digest else {
                    // What a study no longer needs is gone on purpose.
                    if try isNamed(digest) {
                        throw JournalError(
                            description: Self.damage("\(blobFolder)/\(digest)", "not what its name says"))
                    }
                    continue
                }
            }
            return facts
        } catch {
            throw Self.explained(error, "\(folder)/journal.sqlite")
        }
    }

    private func isNamed(_ digest: Digest) throws -> Bool {
        try database.read { db in
            try Bool.fetchOne(
                db, sql: "SELECT EXISTS (SELECT 1 FROM blob WHERE digest = ?)", arguments: [Data(digest.bytes)])
                ?? false
        }
    }

    /// Keeps facts, together and in order, and the blobs that they name.
    ///
    /// - Parameter blob: the bytes of a blob.
    /// - Throws: `JournalError` if they could not be written; then none of them is kept.
    package func append(_ facts: [Fact], blob: (Digest) -> [UInt8]?) throws(JournalError) {
        do {
            for fact in facts {
                for digest in fact.blobs.sorted() { try keep(digest, blob) }
            }
            try database.write { db in
                for fact in facts { try Self.insert(fact, db, keptStudies) }
            }
            if facts.contains(where: { if case .studyEnded = $0 { true } else { false } }) { try removeOldBlobs() }
        } catch {
            throw Self.explained(error, "\(folder)/journal.sqlite")
        }
    }

    private static func insert(_ fact: Fact, _ db: Database, _ keptStudies: Int) throws {
        let study = fact.study.map { Int64(bitPattern: $0.value) }
        var kind = 1
        /// Whose call it is, until the item is done.
        var item: Int?
        switch fact {
        case .termBegan: try db.execute(sql: "DELETE FROM fact WHERE study IS NULL")
        case .studyAccepted: kind = 0
        case .labelsPaid(let oracle, let points, let valuations, let worker):
            try insert(oracle, points, valuations, worker, db)
            return
        case .studyEnded:
            kind = 2
            try db.execute(sql: "DELETE FROM fact WHERE study = ? AND kind = 1", arguments: [study])
            try db.execute(sql: "DELETE FROM blob WHERE study = ?", arguments: [study])
        case .itemsCompleted(let job, _) where job.call != nil: item = job.items.lowerBound
        case .itemsCompleted(let job, _), .jobAbandoned(let job, _):
            // What its calls said has led to this.
            try db.cachedStatement(
                sql: "DELETE FROM fact WHERE study = ? AND item >= ? AND item < ?"
            ).execute(arguments: [study, job.items.lowerBound, job.items.upperBound])
        case .attemptLost, .studyPaused: break
        }
        let content = Codec.encode(fact)
        let statement = try db.cachedStatement(
            sql: "INSERT INTO fact (study, kind, content, digest, item) VALUES (?, ?, ?, ?, ?)")
        try statement.execute(arguments: [study, kind, Data(content), Data(Digest(of: content).bytes), item])
        for digest in fact.blobs.sorted() {
            try db.execute(
                sql: "INSERT OR IGNORE INTO blob (study, digest) VALUES (?, ?)", arguments: [study, Data(digest.bytes)])
        }
        if kind == 2 {
            let old = try Int64.fetchAll(
                db, sql: "SELECT study FROM fact WHERE kind = 2 ORDER BY id DESC LIMIT -1 OFFSET ?",
                arguments: [keptStudies])
            for study in old {
                try db.execute(sql: "DELETE FROM fact WHERE study = ?", arguments: [study])
                try db.execute(sql: "DELETE FROM blob WHERE study = ?", arguments: [study])
            }
        }
    }

    // MARK: Labels

    /// An input's name in the ledger: its very bits.
    private static func key(_ point: ArraySlice<Double>) -> Data {
        var key = Data(capacity: 8 * point.count)
        for x in point { withUnsafeBytes(of: x.bitPattern.littleEndian) { key.append(contentsOf: $0) } }
        return key
    }

    /// The first eight bytes of the SHA-256 of a label and of what it is a label of: a bit that flips on the disk makes a price
    /// that is wrong, and looks like any other.
    private static func labelDigest(
        _ oracle: String, _ key: Data, _ price: Double, _ standardError: Double, _ status: UInt8
    ) -> Data {
        var content = Array(oracle.utf8) + [0] + key
        for x in [price, standardError] { withUnsafeBytes(of: x.bitPattern.littleEndian) { content += $0 } }
        return Data(Digest(of: content + [status]).bytes.prefix(8))
    }

    /// Only what has a price is kept: a failure may not repeat itself.
    private static func insert(
        _ oracle: OracleReference, _ points: [Double], _ valuations: Valuations, _ worker: String, _ db: Database
    ) throws {
        let dimension = points.count / max(1, valuations.prices.count)
        // Of one oracle and input, a label has the same bits whoever prices it; one that has not was damaged.
        let statement = try db.cachedStatement(
            sql: """
                INSERT INTO label (oracle, input, price, standardError, status, worker, paid, digest)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (oracle, input) DO UPDATE SET
                    price = excluded.price, standardError = excluded.standardError, status = excluded.status,
                    worker = excluded.worker, paid = excluded.paid, digest = excluded.digest
                WHERE price IS NOT excluded.price OR standardError IS NOT excluded.standardError
                    OR status IS NOT excluded.status OR digest IS NOT excluded.digest
                """)
        let now = time(nil)
        for row in valuations.prices.indices {
            guard valuations.statuses[row] == .ok || valuations.statuses[row] == .extended else { continue }
            let key = key(points[row * dimension..<(row + 1) * dimension])
            let standardError = valuations.standardErrors.isEmpty ? 0 : valuations.standardErrors[row]
            let status = valuations.statuses[row].rawValue
            try statement.execute(arguments: [
                oracle.fingerprint, key, valuations.prices[row], standardError, Int(status), worker, now,
                labelDigest(oracle.fingerprint, key, valuations.prices[row], standardError, status),
            ])
        }
    }

    /// What the ledger has of some inputs, in runs of neighbouring rows.
    ///
    /// - Parameters:
    ///   - points: rows of raw inputs.
    ///   - damaged: how many more it has that are not what was written.
    package func labels(
        _ oracle: OracleReference, _ points: [Double], dimension: Int, damaged: inout Int
    ) -> [Coordinator.KnownLabels] {
        var broken = 0
        defer { damaged += broken }
        // A ledger that cannot be read, or not all of it, costs money, not correctness: what it does not have is priced.
        return
            (try? database.read { db in
                let fingerprint = oracle.fingerprint
                let hasAny = try Bool.fetchOne(
                    db, sql: "SELECT EXISTS (SELECT 1 FROM label WHERE oracle = ?)", arguments: [fingerprint])
                guard hasAny == true else { return [] }
                var known: [Coordinator.KnownLabels] = []
                // What a damaged row holds may be of another type.
                let statement = try db.cachedStatement(
                    sql: """
                        SELECT CAST(price AS REAL) AS price, CAST(standardError AS REAL) AS standardError,
                            CAST(status AS INTEGER) AS status, CAST(digest AS BLOB) AS digest
                        FROM label WHERE oracle = ? AND input = ?
                        """)
                for row in 0..<points.count / dimension {
                    let key = Self.key(points[row * dimension..<(row + 1) * dimension])
                    guard let label = try Row.fetchOne(statement, arguments: [fingerprint, key]) else { continue }
                    guard let price = label["price"] as Double?, let error = label["standardError"] as Double?,
                        let status = UInt8(exactly: label["status"] ?? -1 as Int64).flatMap(ValuationStatus.init),
                        Self.labelDigest(fingerprint, key, price, error, status.rawValue) == label["digest"] as Data?
                    else {
                        broken += 1
                        continue
                    }
                    if known.last.map({ $0.first + $0.valuations.prices.count }) != row {
                        known.append(.init(first: row, valuations: Valuations(prices: [], statuses: [])))
                    }
                    known[known.count - 1].valuations.prices.append(price)
                    known[known.count - 1].valuations.standardErrors.append(error)
                    known[known.count - 1].valuations.statuses.append(status)
                }
                return known
            }) ?? []
    }

    /// Opens the journal of a folder for its ledger.
    ///
    /// - Throws: `JournalError` if there is no journal in the folder, or it cannot be used.
    package static func ledger(in folder: String) throws(JournalError) -> Journal {
        guard FileManager.default.fileExists(atPath: "\(folder)/journal.sqlite") else {
            throw JournalError(description: "\(folder): holds no journal; name the folder of storage.dir")
        }
        return try Journal(folder: folder, keptStudies: .max)
    }

    /// Labels of one oracle that one worker has priced.
    package struct LabelCount: Sendable, Hashable {
        package var oracle: String
        package var worker: String
        package var labels: Int
        /// When the first and the last were written down, in seconds since 1970; 0 for those of an earlier version of Cairn.
        package var first: Int
        package var last: Int
    }

    /// What the ledger holds, by oracle and worker.
    package func labelCounts() throws(JournalError) -> [LabelCount] {
        do {
            return try database.read { db in
                try Row.fetchAll(
                    db,
                    sql: """
                        SELECT oracle, worker, count(*) AS labels, min(paid) AS first, max(paid) AS last FROM label
                        GROUP BY oracle, worker ORDER BY oracle, worker
                        """
                ).map {
                    LabelCount(
                        oracle: $0["oracle"], worker: $0["worker"], labels: $0["labels"], first: $0["first"],
                        last: $0["last"])
                }
            }
        } catch {
            throw Self.explained(error, "\(folder)/journal.sqlite")
        }
    }

    /// Forgets the labels of an oracle, contracts on it included.
    ///
    /// - Parameters:
    ///   - fingerprint: `name/version`, what follows the `+` in a plug-in's version, or, for one contract, all that
    ///     `labelCounts` says.
    ///   - worker: only those that this one has priced; nil for all.
    /// - Returns: how many.
    package func invalidate(
        oracle: String, fingerprint: String, worker: String? = nil
    ) throws(JournalError) -> Int {
        do {
            return try database.write { db in
                var gone = 0
                for full in try String.fetchAll(db, sql: "SELECT DISTINCT oracle FROM label") {
                    let base = full.prefix { $0 != "?" }
                    guard base.hasPrefix("\(oracle)/"),
                        full == fingerprint || base == fingerprint
                            || base.dropFirst(oracle.count + 1) == fingerprint
                            || base.hasSuffix("+\(fingerprint)")
                    else { continue }
                    try db.execute(
                        sql: "DELETE FROM label WHERE oracle = ? AND (? IS NULL OR worker = ?)",
                        arguments: [full, worker, worker])
                    gone += db.changesCount
                }
                return gone
            }
        } catch {
            throw Self.explained(error, "\(folder)/journal.sqlite")
        }
    }

    // MARK: Blobs

    /// The bytes of a blob; nil if it is not here.
    package func blob(_ digest: Digest) -> [UInt8]? {
        (try? Data(contentsOf: URL(filePath: "\(blobFolder)/\(digest)"))).map { [UInt8]($0) }
    }

    /// Part of a blob: at most `limit` bytes from an offset on.
    package func part(_ digest: Digest, offset: Int, limit: Int) -> [UInt8] {
        let file = open("\(blobFolder)/\(digest)", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        return [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            count = max(0, pread(file, buffer.baseAddress, limit, offset))
        }
    }

    private func keep(_ digest: Digest, _ blob: (Digest) -> [UInt8]?) throws {
        let path = "\(blobFolder)/\(digest)"
        guard access(path, F_OK) != 0 else { return }
        guard let bytes = blob(digest) else { preconditionFailure("a fact names blob \(digest), which is not here") }
        func fail(_ what: String) -> JournalError {
            let isFull = errno == ENOSPC || errno == EDQUOT
            return JournalError(
                description: isFull
                    ? "\(path): the disk is full; nothing that was acknowledged is lost. Make room, then go on"
                    : "\(path): \(what): \(String(cString: strerror(errno)))")
        }
        let file = open("\(path).new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw fail("cannot be made") }
        defer { close(file) }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress! + written, $0.count - written) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw fail("cannot be written") }
            written += count
        }
        guard fsync(file) == 0, rename("\(path).new", path) == 0 else { throw fail("cannot be kept") }
        let directory = open(blobFolder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw fail("its folder cannot be opened") }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw fail("its folder cannot be kept") }
    }

    private func removeOldBlobs() throws {
        let named = try database.read { db in
            Set(
                try Data.fetchAll(db, sql: "SELECT DISTINCT digest FROM blob").compactMap {
                    Digest(bytes: $0)?.description
                })
        }
        for name in try FileManager.default.contentsOfDirectory(atPath: blobFolder) where !named.contains(name) {
            try? FileManager.default.removeItem(atPath: "\(blobFolder)/\(name)")
        }
    }
}
