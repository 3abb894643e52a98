// The command `cairn`, with the oracles that are built in.

import CairnCommand

runCairn()
