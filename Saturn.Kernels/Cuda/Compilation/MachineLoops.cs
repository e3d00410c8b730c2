using System.Text.RegularExpressions;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// Finds the natural loops of machine code. A backward branch alone does not make one: the compiler lays blocks out behind their loop, and they branch back into its middle. So instructions are gathered
/// into blocks, and a branch closes a loop where its target lies on every way from the entrance to it (dominates it: Cooper, Harvey and Kennedy, 2001).
/// </summary>
internal static partial class MachineLoops
{
    /// <summary>The loops of a kernel in the order of their heads.</summary>
    /// <param name="instructions">Its instructions.</param>
    /// <param name="labels">Labels, each with the index of the instruction behind it.</param>
    public static IReadOnlyList<MachineLoop> Find(IReadOnlyList<MachineInstruction> instructions, IReadOnlyDictionary<string, int> labels)
    {
        if (instructions.Count == 0)
        {
            return [];
        }

        SortedSet<int> starts = [0, .. labels.Values.Where(index => index < instructions.Count)];
        starts.UnionWith(Enumerable.Range(1, instructions.Count - 1).Where(i => EndsBlock(instructions[i - 1])));
        int[] first = [.. starts];
        Dictionary<int, int> blockOf = first.Select((start, block) => (start, block)).ToDictionary();
        int End(int block) => block + 1 < first.Length ? first[block + 1] : instructions.Count;

        // Block 0 of the graph stands before all entrances: the kernel's, and those of functions behind it, whose labels have names.
        List<int>[] next = [.. Enumerable.Range(0, first.Length + 1).Select(_ => new List<int>())];
        next[0].AddRange(labels.Where(label => !IsLocal(label.Key) && label.Value < instructions.Count).Select(label => blockOf[label.Value] + 1).Append(1).Distinct());
        for (int block = 0; block < first.Length; block++)
        {
            MachineInstruction last = instructions[End(block) - 1];
            if (FallsThrough(last) && block + 1 < first.Length)
            {
                next[block + 1].Add(block + 2);
            }

            next[block + 1].AddRange(Targets(last).Where(label => labels.TryGetValue(label, out int index) && index < instructions.Count).Select(label => blockOf[labels[label]] + 1));
        }

        SortedDictionary<int, HashSet<int>> bodies = Bodies(next);

        // The innermost loop of a block is the smallest that holds it; loops with different heads are nested or apart.
        Dictionary<int, MachineLoop> loops = [];
        foreach ((int head, HashSet<int> body) in bodies.OrderByDescending(loop => loop.Value.Count))
        {
            int? outer = Innermost(bodies.Where(loop => loop.Key != head && loop.Value.Count > body.Count), head);
            IEnumerable<int> own = body.Where(block => Innermost(bodies, block) == head).Order();
            string label = labels.Where(label => label.Value == first[head - 1] && IsLocal(label.Key)).Select(label => label.Key).FirstOrDefault() ?? $"0x{instructions[first[head - 1]].Address:x}";
            loops[head] = new MachineLoop(label, outer is { } around ? loops[around] : null, [.. own.SelectMany(block => instructions.Skip(first[block - 1]).Take(End(block - 1) - first[block - 1]))]);
        }

        return [.. bodies.Keys.Select(head => loops[head])];
    }

    private static int? Innermost(IEnumerable<KeyValuePair<int, HashSet<int>>> bodies, int block)
    {
        KeyValuePair<int, HashSet<int>>[] around = [.. bodies.Where(loop => loop.Value.Contains(block))];
        return around.Length == 0 ? null : around.MinBy(loop => loop.Value.Count).Key;
    }

    // Of each head the blocks of its loop.
    private static SortedDictionary<int, HashSet<int>> Bodies(List<int>[] next)
    {
        int[] order = PostOrder(next);
        List<int>[] previous = [.. next.Select(_ => new List<int>())];
        int[] place = Enumerable.Repeat(-1, next.Length).ToArray();
        for (int i = 0; i < order.Length; i++)
        {
            place[order[i]] = i;
            foreach (int target in next[order[i]])
            {
                previous[target].Add(order[i]);
            }
        }

        int[] dominator = Dominators(order, place, previous);
        SortedDictionary<int, HashSet<int>> bodies = [];
        foreach (int block in order)
        {
            foreach (int head in next[block].Where(head => Dominates(head, block)))
            {
                if (!bodies.TryGetValue(head, out HashSet<int>? body))
                {
                    bodies[head] = body = [head];
                }

                Stack<int> open = new([block]);
                while (open.TryPop(out int one))
                {
                    if (body.Add(one))
                    {
                        previous[one].ForEach(open.Push);
                    }
                }
            }
        }

        return bodies;

        bool Dominates(int head, int block)
        {
            while (place[block] < place[head])
            {
                block = dominator[block];
            }

            return block == head;
        }
    }

    // The immediate dominator of each block that can be reached.
    private static int[] Dominators(int[] order, int[] place, List<int>[] previous)
    {
        int[] dominator = Enumerable.Repeat(-1, previous.Length).ToArray();
        dominator[0] = 0;
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (int block in order.Reverse().Skip(1))
            {
                int found = previous[block].Where(one => dominator[one] >= 0).Aggregate((a, b) =>
                {
                    while (a != b)
                    {
                        (a, b) = place[a] < place[b] ? (dominator[a], b) : (a, dominator[b]);
                    }

                    return a;
                });
                changed |= dominator[block] != found;
                dominator[block] = found;
            }
        }

        return dominator;
    }

    // What can be reached from block 0, which comes last.
    private static int[] PostOrder(List<int>[] next)
    {
        List<int> order = [];
        bool[] seen = new bool[next.Length];
        Stack<(int Block, int Done)> open = new([(0, 0)]);
        seen[0] = true;
        while (open.TryPop(out (int Block, int Done) top))
        {
            if (top.Done == next[top.Block].Count)
            {
                order.Add(top.Block);
                continue;
            }

            open.Push((top.Block, top.Done + 1));
            int target = next[top.Block][top.Done];
            if (!seen[target])
            {
                seen[target] = true;
                open.Push((target, 0));
            }
        }

        return [.. order];
    }

    private static bool IsLocal(string label) => label.StartsWith(".L", StringComparison.Ordinal);

    // A call of a label is a jump that reaches far; a call of a named function comes back.
    private static bool IsBranch(MachineInstruction instruction) => instruction.Name is "BRA" or "BRX" or "BRXU" or "JMP" or "JMX" or "JMXU" || (instruction.Name == "CALL" && LocalLabel().IsMatch(instruction.Operands));

    private static bool IsEnd(MachineInstruction instruction) => instruction.Name is "EXIT" or "RET" or "KILL";

    private static bool EndsBlock(MachineInstruction instruction) => IsBranch(instruction) || IsEnd(instruction);

    // A branch may have its condition before the opcode, among its modifiers or among its operands.
    private static bool FallsThrough(MachineInstruction instruction) =>
        !EndsBlock(instruction) || instruction.Predicate.Length > 0 || (instruction.Name == "BRA" && (instruction.Opcode != "BRA" || Condition().IsMatch(instruction.Operands)));

    // Lanes that have parted take a way of their own and come back.
    private static IEnumerable<string> Targets(MachineInstruction instruction) =>
        IsBranch(instruction) && !instruction.Is("BRA.DIV") ? LocalLabel().Matches(instruction.Operands).Select(match => match.Value) : [];

    [GeneratedRegex(@"\.L[\w$.]*")]
    private static partial Regex LocalLabel();

    [GeneratedRegex(@"^[!~]?U?[PR][0-9TZ]")]
    private static partial Regex Condition();
}
