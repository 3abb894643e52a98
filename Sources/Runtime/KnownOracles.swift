// The oracles of a process: those that are built in, those of the program, and the plug-ins of a cluster file.

package import Cluster
package import Logging
package import PlugIns
internal import Pricing
package import Regression
internal import Synchronization

/// Oracles of the program that runs.
private let ownOracles = Mutex<[any Oracle]>([])

/// Makes oracles known to this process, beside those that are built in: before anything else is asked of it.
package func provide(_ oracles: [any Oracle]) { ownOracles.withLock { $0 = oracles } }

package struct KnownOracles: Sendable {
    package let all: [any Oracle]
    package let plugIns: [PlugIn]
    /// Why plug-ins cannot be used, one line each.
    package let problems: [String]

    /// Starts the plug-ins of a cluster. One that cannot be used is left out, and logged.
    ///
    /// - Parameter areTested: whether plug-ins price their test vectors.
    package init(of cluster: ClusterFile, areTested: Bool = true, logger: Logger) {
        let first: [any Oracle] = ownOracles.withLock { $0.map(OwnOracle.init) } + builtInOracles
        var plugIns: [PlugIn] = []
        var problems: [String] = []
        for settings in cluster.oracles {
            do throws(PlugInError) {
                if first.contains(where: { $0.descriptor.name == settings.name }) {
                    throw PlugInError(description: "a built-in oracle has this name; choose another")
                }
                plugIns.append(
                    try PlugIn(settings, isTested: areTested) {
                        logger.warning("plug-in", metadata: ["problem": "\($0)"])
                    })
            } catch {
                problems.append("oracles.\(settings.name): \(error)")
                logger.warning("oracle not available", metadata: ["oracle": "\(settings.name)", "problem": "\(error)"])
            }
        }
        all = first + plugIns
        self.plugIns = plugIns
        self.problems = problems
    }

    /// Digests of what the plug-ins say of their test vectors.
    package var testimonies: [OracleReference: Digest] {
        Dictionary(
            uniqueKeysWithValues: plugIns.filter { !$0.testimony.isEmpty }.map { plugIn in
                let bytes = plugIn.testimony.flatMap { bits in
                    (0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
                }
                return (OracleReference(plugIn), Digest(of: bytes))
            })
    }

    /// What went wrong with plug-ins since this was asked last.
    package func newIncidents() -> IncidentCounts {
        var all: IncidentCounts = [:]
        for plugIn in plugIns {
            let counts = plugIn.newIncidents()
            if !counts.isEmpty { all[plugIn.descriptor.name] = counts }
        }
        return all
    }

    /// Those whose calls can be given up.
    package var interruptible: Set<OracleReference> {
        Set(plugIns.filter(\.canRestart).map { OracleReference($0) })
    }

    /// Sets what is asked while plug-ins evaluate: whether that is not wanted any more.
    package func setCancellation(_ check: (@Sendable () -> Bool)?) {
        for plugIn in plugIns { plugIn.setCancellation(check) }
    }

    /// Ends the plug-ins' processes; their descriptors stay.
    package func close() { for plugIn in plugIns { plugIn.close() } }
}
