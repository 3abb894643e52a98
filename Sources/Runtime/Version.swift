/// The version of this Cairn, as `cairn --version` prints it.
package let cairnVersion = "0.1.0"
