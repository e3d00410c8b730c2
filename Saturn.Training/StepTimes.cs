namespace Saturn.Training;

/// <summary>
/// Times of training steps. The figures are medians over windows, since single steps are disturbed by compilation at the start and by whatever else the machine does.
/// </summary>
internal sealed class StepTimes
{
    private const int Window = 100;

    // The first steps compile code and fill the memory pool.
    private const int WarmUp = 5;

    private readonly List<double> first = new(Window);
    private readonly double[] last = new double[Window];
    private readonly double[] sorted = new double[Window];
    private long count;
    private long total;
    private double beforeChange;
    private double firstFlops;
    private bool removed;

    /// <summary>Median milliseconds of the first steps after the warm-up, up to a hundred, before anything was removed.</summary>
    public double First => first.Count > 0 ? Median(first.ToArray()) : Last;

    /// <summary>Median milliseconds of the last steps, up to a hundred, since the last removal.</summary>
    public double Last
    {
        get
        {
            int length = (int)Math.Min(count, Window);
            if (length == 0)
            {
                // Nothing has run since the network changed, as after the census that ends a run: the time before it is the last one known.
                return beforeChange;
            }

            Array.Copy(last, sorted, length);
            Array.Sort(sorted, 0, length);
            return sorted[length / 2];
        }
    }

    /// <summary>Forward operations an image of the network that <see cref="First"/> timed, as dense kernels take them.</summary>
    public double FirstFlops => first.Count > 0 ? firstFlops : LastFlops;

    /// <summary>The same of the network that <see cref="Last"/> timed.</summary>
    public double LastFlops { get; private set; }

    /// <summary>Adds a step.</summary>
    /// <param name="milliseconds">Its time.</param>
    /// <param name="flops">Forward operations an image of the network it was taken with.</param>
    public void Add(double milliseconds, double flops)
    {
        total++;
        if (total > WarmUp && first.Count < Window && !removed)
        {
            first.Add(milliseconds);
            firstFlops = flops;
        }

        LastFlops = flops;

        last[count++ % Window] = milliseconds;
    }

    /// <summary>
    /// Adds the time that the host waited for the device after the last steps: a device works on while the host issues the next step, so that a step's own time may be that of its launches alone. Each of
    /// the steps gets an equal share; those before a change of the network, which itself waits for the device, get none.
    /// </summary>
    /// <param name="milliseconds">The time of waiting.</param>
    /// <param name="steps">Steps since the host waited last; at least 1.</param>
    public void AddWait(double milliseconds, int steps)
    {
        int shared = (int)Math.Min(steps, count);
        for (int i = 1; i <= Math.Min(shared, Window); i++)
        {
            last[(count - i) % Window] += milliseconds / shared;
            long warm = total - i - WarmUp;
            if (warm >= 0 && warm < first.Count)
            {
                first[(int)warm] += milliseconds / shared;
            }
        }
    }

    /// <summary>The network has changed: earlier steps no longer tell how long one takes now.</summary>
    public void NetworkChanged()
    {
        removed = true;
        beforeChange = Last;
        count = 0;
    }

    private static double Median(double[] values)
    {
        Array.Sort(values);
        return values[values.Length / 2];
    }
}
