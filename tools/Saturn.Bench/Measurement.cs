using System.Diagnostics;

namespace Saturn.Bench;

/// <summary>One side of a race.</summary>
/// <param name="Name">How it is named in errors.</param>
/// <param name="Round">Does one round, untimed warm-up included, and returns its timings in milliseconds, at least one.</param>
public sealed record Contender(string Name, Func<IReadOnlyList<double>> Round);

/// <summary>What one contender needed, round by round.</summary>
/// <param name="Name">The contender's name.</param>
/// <param name="Rounds">The timings of each round, in milliseconds.</param>
public sealed record Timings(string Name, IReadOnlyList<IReadOnlyList<double>> Rounds)
{
    /// <summary>All timings of all rounds, in milliseconds.</summary>
    public Summary Milliseconds => Summary.Of(Rounds.SelectMany(round => round));

    /// <summary>
    /// How many times as long as <paramref name="other"/> this contender took: the median over the rounds of the quotient of the two medians of one round.
    /// Rounds are neighbours in time, so a change of the machine's load or clock hits both sides of a quotient.
    /// </summary>
    /// <exception cref="ArgumentException">The two did not run the same number of rounds.</exception>
    public double RatioTo(Timings other)
    {
        if (Rounds.Count != other.Rounds.Count)
        {
            throw new ArgumentException($"'{Name}' ran {Rounds.Count} rounds, but '{other.Name}' ran {other.Rounds.Count}.", nameof(other));
        }

        return Summary.Of(Rounds.Zip(other.Rounds, (mine, theirs) => Summary.Of(mine).Median / Summary.Of(theirs).Median)).Median;
    }
}

/// <summary>How often a bench repeats itself.</summary>
/// <param name="Rounds">Rounds, each of which all contenders run in turn; at least 1.</param>
/// <param name="Warmup">Untimed repetitions at the start of each contender's round; at least 0.</param>
/// <param name="Repetitions">Timed repetitions of each contender's round; at least 1.</param>
public readonly record struct Repetition(int Rounds = 7, int Warmup = 1, int Repetitions = 3)
{
    /// <summary>The counts in words, for the notes below a table.</summary>
    public override string ToString() => $"{Rounds} interleaved rounds of {Repetitions} timed repetitions after {Warmup} untimed";

    /// <summary>Throws unless the counts can be measured with.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A count is too small.</exception>
    public void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Rounds, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(Warmup);
        ArgumentOutOfRangeException.ThrowIfLessThan(Repetitions, 1);
    }
}

/// <summary>Timing, and races in interleaved rounds.</summary>
public static class Measurement
{
    /// <summary>
    /// Runs the contenders in turn, round after round (A B C A B C …), so that none of them gets a quieter machine than the others.
    /// </summary>
    /// <returns>One entry a contender, in their order.</returns>
    public static IReadOnlyList<Timings> Interleave(IReadOnlyList<Contender> contenders, int rounds)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rounds, 1);
        List<IReadOnlyList<double>>[] measured = [.. contenders.Select(_ => new List<IReadOnlyList<double>>(rounds))];
        for (int round = 0; round < rounds; round++)
        {
            for (int i = 0; i < contenders.Count; i++)
            {
                measured[i].Add(contenders[i].Round());
            }
        }

        return [.. contenders.Select((contender, i) => new Timings(contender.Name, measured[i]))];
    }

    /// <summary>A contender that calls an action; the action returns when the work has finished.</summary>
    public static Contender Of(string name, Action work, Repetition repetition)
    {
        repetition.Check();
        return new Contender(name, () => Time(work, repetition.Warmup, repetition.Repetitions));
    }

    /// <summary>A contender that does a peer's work; the peer keeps the time.</summary>
    public static Contender Of(PeerProcess peer, PeerWork work, Repetition repetition)
    {
        repetition.Check();
        return new Contender(peer.Name, () => peer.Run(work, repetition.Warmup, repetition.Repetitions).Milliseconds);
    }

    /// <summary>Milliseconds of each of some repetitions, after untimed ones.</summary>
    public static double[] Time(Action work, int warmup, int repetitions)
    {
        for (int i = 0; i < warmup; i++)
        {
            work();
        }

        double[] milliseconds = new double[repetitions];
        for (int i = 0; i < repetitions; i++)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            milliseconds[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }

        return milliseconds;
    }
}
