// Gives the cells less room: messages in the last slots move into free ones before them.

export function compact(leases) {
  const { least, slots, cells } = leases;
  for (const cell of cells.values()) {
    if (cell.slot < least) continue;
    let free = 0;
    while (slots[free] !== undefined) free++;
    [slots[free], slots[cell.slot]] = [slots[cell.slot], undefined];
    cell.slot = free;
  }
  leases.trim();
}
