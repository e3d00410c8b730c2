namespace Saturn.Kernels;

/// <summary>Work that cannot be recorded and repeated.</summary>
/// <param name="message">One sentence: what stood in the way.</param>
public sealed class NotRepeatableException(string message) : Exception(message);

/// <summary>
/// Work that a device records once and issues again and again as a whole, such as a training step. It is issued as usual a few times first, between <see cref="Begin"/> and <see cref="End"/>, until
/// <see cref="IsSteady"/> says that a repetition asks for nothing new: then its memory is set aside and belongs to it alone, and between one repetition and the next nobody else uses it.
/// A repetition does what the recording did, with the same addresses and the same arguments; whatever is to differ must be read from device memory.
/// </summary>
public interface IRecordedWork : IDisposable
{
    /// <summary>Whether the work, as it was last issued, took no memory beyond what is set aside and left none behind.</summary>
    bool IsSteady { get; }

    /// <summary>Kernels, copies and fills that a repetition issues.</summary>
    int Operations { get; }

    /// <summary>The work begins. What is allocated until <see cref="End"/> comes from the memory set aside, and must be freed before.</summary>
    /// <param name="record">Whether the device records what follows instead of doing it.</param>
    void Begin(bool record);

    /// <summary>The work ends; after a recording, it can be repeated.</summary>
    /// <exception cref="NotRepeatableException">A recording differs from the work as it was issued before: one sentence that says in what. Nothing of it was done, and it is dropped.</exception>
    void End();

    /// <summary>Drops the work under way after a failure. Nothing of a recording was done.</summary>
    void Abandon();

    /// <summary>Issues the recorded work.</summary>
    void Repeat();
}
