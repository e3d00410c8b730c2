namespace Saturn.Training.Sweeps;

/// <summary>The known name that an unknown one was probably meant to be.</summary>
public static class NearestName
{
    /// <summary>The name of the smallest edit distance; of equals the first.</summary>
    /// <param name="name">What came.</param>
    /// <param name="known">At least one name.</param>
    public static string Of(string name, IEnumerable<string> known) => known.MinBy(candidate => Distance(name, candidate))!;

    /// <summary>Levenshtein's distance: the fewest characters inserted, deleted or replaced that turn one text into the other.</summary>
    public static int Distance(string from, string to)
    {
        int[] above = [.. Enumerable.Range(0, to.Length + 1)];
        for (int i = 1; i <= from.Length; i++)
        {
            int[] row = new int[to.Length + 1];
            row[0] = i;
            for (int j = 1; j <= to.Length; j++)
            {
                int replaced = above[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
                row[j] = Math.Min(replaced, 1 + Math.Min(above[j], row[j - 1]));
            }

            above = row;
        }

        return above[^1];
    }
}
