// Every message of the cluster, on one page. The wire form is in Protos/, the rules in Docs/Protocol.md.

package import Regression

/// Part of a blob. An answer to `want`; `offset` + bytes up to `size` in all. No bytes at offset 0 of a blob that is not
/// empty: the asked one does not have it.
package struct BlobChunk: Sendable, Hashable {
    package var blob: BlobReference
    package var offset: Int
    package var bytes: [UInt8]

    package init(blob: BlobReference, offset: Int, bytes: [UInt8]) {
        self.blob = blob
        self.offset = offset
        self.bytes = bytes
    }
}

/// A wish for the bytes of a blob from an offset on.
package struct BlobRequest: Sendable, Hashable {
    package var blob: BlobReference
    package var offset: Int

    package init(blob: BlobReference, offset: Int) {
        self.blob = blob
        self.offset = offset
    }
}

/// One try at a job.
package struct Attempt: Sendable, Hashable, CustomStringConvertible {
    package var job: JobID
    /// From 1.
    package var number: Int

    package init(job: JobID, number: Int) {
        self.job = job
        self.number = number
    }

    package var description: String { "\(job)#\(number)" }
}

/// How often something went wrong with a plug-in oracle, by the oracle's name and the kind of incident.
package typealias IncidentCounts = [String: [String: Int]]

// MARK: To the coordinator

package enum ToCoordinator: Sendable, Hashable {
    // What is large and rare is kept beside: a message is copied a few times on its way.
    // From workers and trainers.
    indirect case hello(Hello)
    case heartbeat(Heartbeat)
    case finished(Finished)
    /// Several of them, on their way together; see Bundles.swift.
    case results([Finished])
    indirect case progress(Progress)
    case goodbye(Incarnation)
    // From clients.
    indirect case submit(Submission)
    case watch(Watch)
    case cancelStudy(StudyID)
    case pauseStudy(StudyID, Bool)
    /// A wish to be told of all studies.
    case listStudies
    /// From the supervisor of local processes: this life is over.
    indirect case exited(ProcessExit)
    // From anyone.
    case want(BlobRequest)
    indirect case blob(BlobChunk)

    /// A process introduces itself: at its start, after each reconnection, and when it is told that it is unknown.
    package struct Hello: Sendable, Hashable {
        package var incarnation: Incarnation
        package var role: Role
        package var name: String
        package var processID: Int32
        /// Jobs that run at a time.
        package var slots: Int
        /// Jobs that it takes at a time, running and waiting.
        package var credit: Int
        package var oracles: [OracleReference]
        /// The digest of an oracle's prices of its own test vectors, for those that come from outside.
        package var testimonies: [OracleReference: Digest]
        /// What its numbers depend on: CPU path and library versions.
        package var numerics: String
        /// Attempts that it holds, running, waiting or finished and not acknowledged.
        package var held: [Attempt]
        package var heard: Heard

        package init(
            incarnation: Incarnation, role: Role, name: String, processID: Int32, slots: Int, credit: Int,
            oracles: [OracleReference], testimonies: [OracleReference: Digest] = [:], numerics: String, held: [Attempt],
            heard: Heard = .init()
        ) {
            self.heard = heard
            self.incarnation = incarnation
            self.role = role
            self.name = name
            self.processID = processID
            self.slots = slots
            self.credit = credit
            self.oracles = oracles
            self.testimonies = testimonies
            self.numerics = numerics
            self.held = held
        }
    }

    /// Still here; renews the leases of the attempts that it names.
    package struct Heartbeat: Sendable, Hashable {
        package var incarnation: Incarnation
        package var held: [Attempt]
        package var heard: Heard

        package init(incarnation: Incarnation, held: [Attempt], heard: Heard = .init()) {
            self.incarnation = incarnation
            self.held = held
            self.heard = heard
        }
    }

    /// How much of a coordinator's assignments had come to a worker when it spoke: what it does not hold of those was lost or
    /// is over, what comes after was on its way.
    package struct Heard: Sendable, Hashable {
        /// The life of the coordinator that it knew.
        package var term: UInt64
        /// The latest assignment of that life.
        package var serial: UInt64

        package init(term: UInt64 = 0, serial: UInt64 = 0) {
            self.term = term
            self.serial = serial
        }
    }

    package enum Outcome: Sendable, Hashable {
        case success(WorkResult)
        case failure(WorkFailure)
    }

    /// An attempt has ended. Sent again until it is acknowledged.
    package struct Finished: Sendable, Hashable {
        package var incarnation: Incarnation
        package var attempt: Attempt
        /// Compute time.
        package var duration: Duration
        package var outcome: Outcome
        /// What went wrong with plug-in oracles meanwhile.
        package var incidents: IncidentCounts

        package init(
            incarnation: Incarnation, attempt: Attempt, duration: Duration, outcome: Outcome,
            incidents: IncidentCounts = [:]
        ) {
            self.incarnation = incarnation
            self.attempt = attempt
            self.duration = duration
            self.outcome = outcome
            self.incidents = incidents
        }
    }

    /// An epoch of a training, for people to watch.
    package struct Progress: Sendable, Hashable {
        package var incarnation: Incarnation
        package var attempt: Attempt
        package var epoch: EpochReport

        package init(incarnation: Incarnation, attempt: Attempt, epoch: EpochReport) {
            self.incarnation = incarnation
            self.attempt = attempt
            self.epoch = epoch
        }
    }

    /// A study to run. `token` makes a repeated submission the same one.
    package struct Submission: Sendable, Hashable {
        package var token: UInt64
        /// The study file with its defaults filled in.
        package var study: String
        package var attachments: [Attachment]
        /// Do not take labels from the ledger.
        package var wantsFreshLabels: Bool
        /// Of the workers, against other studies of its priority: one of share 3 gets three times the slots of one of
        /// share 1. Above 0.
        package var share: Double
        /// Studies of a higher one go first.
        package var priority: Int
        /// What people call the study: set by the coordinator when it has read it.
        package var name: String

        package init(
            token: UInt64, study: String, attachments: [Attachment], wantsFreshLabels: Bool = false, share: Double = 1,
            priority: Int = 0, name: String = ""
        ) {
            self.name = name
            self.token = token
            self.study = study
            self.attachments = attachments
            self.wantsFreshLabels = wantsFreshLabels
            self.share = share
            self.priority = priority
        }
    }

    package struct Attachment: Sendable, Hashable {
        package enum Part: UInt8, Sendable, Hashable, CaseIterable {
            case training = 1
            case test
            case model
            case seeds
        }

        package var part: Part
        package var blob: BlobReference

        package init(part: Part, blob: BlobReference) {
            self.part = part
            self.blob = blob
        }
    }

    /// A wish to be told of a study's events from number `after` + 1 of a term on; from the first of a later term.
    package struct Watch: Sendable, Hashable {
        package var study: StudyID
        package var term: UInt64
        package var after: Int

        package init(study: StudyID, term: UInt64, after: Int) {
            self.study = study
            self.term = term
            self.after = after
        }
    }

    package struct ProcessExit: Sendable, Hashable {
        package var incarnation: Incarnation
        /// In words: `signal 9`, `exit code 1`.
        package var cause: String

        package init(incarnation: Incarnation, cause: String) {
            self.incarnation = incarnation
            self.cause = cause
        }
    }
}

// MARK: From the coordinator

package enum FromCoordinator: Sendable, Hashable {
    // To workers and trainers.
    indirect case welcome(Welcome)
    case assign(Assignment)
    /// The result is kept; the worker may forget it.
    case acknowledge(Attempt)
    /// Several of them, on their way together; see Bundles.swift.
    case assignments([Assignment])
    case acknowledgements([Attempt])
    case cancellations([Attempt])
    /// The result is not wanted any more.
    case cancel(Attempt)
    /// Who are you? Say hello (again).
    case unknownPeer
    /// Finish what runs, take nothing new, leave.
    case drain
    /// Published to all: a new version, bytes included.
    indirect case parameters(ParametersPublished)
    // To clients.
    case accepted(Accepted)
    case rejected(Rejected)
    case events(StudyEvents)
    case studies([StudySummary])
    // To anyone.
    case want(BlobRequest)
    indirect case blob(BlobChunk)

    package struct Welcome: Sendable, Hashable {
        /// Which life of the coordinator this is.
        package var term: UInt64
        package var heartbeat: Duration
        /// Where it publishes.
        package var publisher: String

        package init(term: UInt64, heartbeat: Duration, publisher: String) {
            self.term = term
            self.heartbeat = heartbeat
            self.publisher = publisher
        }
    }

    package struct Assignment: Sendable, Hashable {
        package var attempt: Attempt
        package var work: Work
        /// Counts the assignments of a worker in a life of the coordinator, from 1.
        package var serial: UInt64

        package init(attempt: Attempt, work: Work, serial: UInt64 = 0) {
            self.attempt = attempt
            self.work = work
            self.serial = serial
        }
    }

    package struct ParametersPublished: Sendable, Hashable {
        package var study: StudyID
        package var version: Int
        package var blob: BlobReference
        package var bytes: [UInt8]

        package init(study: StudyID, version: Int, blob: BlobReference, bytes: [UInt8]) {
            self.study = study
            self.version = version
            self.blob = blob
            self.bytes = bytes
        }
    }

    package struct Accepted: Sendable, Hashable {
        package var token: UInt64
        package var study: StudyID

        package init(token: UInt64, study: StudyID) {
            self.token = token
            self.study = study
        }
    }

    package struct Rejected: Sendable, Hashable {
        package var token: UInt64
        package var problems: [String]

        package init(token: UInt64, problems: [String]) {
            self.token = token
            self.problems = problems
        }
    }
}

/// A study in a list of them.
package struct StudySummary: Sendable, Hashable {
    package enum State: String, Sendable, Hashable, CaseIterable {
        case running, paused, done, incomplete, failed, cancelled
    }

    package var study: StudyID
    package var name: String
    package var state: State
    package var phase: Phase
    /// Items of the running batch.
    package var done: Int
    package var total: Int
    package var share: Double
    package var priority: Int
    /// Jobs that run or wait at workers.
    package var jobs: Int

    package init(
        study: StudyID, name: String, state: State, phase: Phase, done: Int, total: Int, share: Double, priority: Int,
        jobs: Int
    ) {
        self.study = study
        self.name = name
        self.state = state
        self.phase = phase
        self.done = done
        self.total = total
        self.share = share
        self.priority = priority
        self.jobs = jobs
    }
}

// MARK: Events of a study

/// Events of a study, in order. Each term numbers its own: a restarted coordinator makes the plan again, and tells of it.
package struct StudyEvents: Sendable, Hashable {
    package var study: StudyID
    package var term: UInt64
    package var events: [StudyEvent]

    package init(study: StudyID, term: UInt64, events: [StudyEvent]) {
        self.study = study
        self.term = term
        self.events = events
    }
}

/// Something that happened to a study, for clients: numbered from 1 in each term, without gaps.
package struct StudyEvent: Sendable, Hashable {
    package var number: Int
    /// Since the study was accepted.
    package var at: Duration
    package var what: What

    package init(number: Int, at: Duration, what: What) {
        self.number = number
        self.at = at
        self.what = what
    }

    package enum What: Sendable, Hashable {
        case phase(Phase, note: String)
        /// Items of the running batch that are done.
        case progress(Phase, done: Int, total: Int)
        case epoch(Phase, EpochReport, epochs: Int)
        case worker(WorkerChange, name: String, detail: String)
        case reassigned(String)
        case abandoned(String)
        case ended(Ending)
    }

    package enum WorkerChange: UInt8, Sendable, Hashable, CaseIterable {
        case joined = 1
        case lost, left
        /// Of one of its oracles, since another worker's gives other prices.
        case refused

        package var name: String {
            switch self {
            case .joined: "joined"
            case .lost: "lost"
            case .left: "left"
            case .refused: "refused"
            }
        }
    }

    /// How a study ended.
    package enum Ending: Sendable, Hashable {
        /// Its files; `incomplete` if a job was abandoned or a budget ran out.
        case done(files: [File], incomplete: Bool)
        case failed(String)
        case cancelled

        /// Blobs that it names.
        package var blobs: Set<Digest> {
            guard case .done(let files, _) = self else { return [] }
            return Set(files.map(\.blob.digest))
        }
    }

    /// A file of the result folder.
    package struct File: Sendable, Hashable {
        package var name: String
        package var blob: BlobReference

        package init(name: String, blob: BlobReference) {
            self.name = name
            self.blob = blob
        }
    }
}
